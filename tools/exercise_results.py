"""The tables of the exercises that show committed runs, and the numbers of these runs that the text quotes.

The runs are in ``benchmarks/results/exercises.json``, made by ``benchmarks/exercise_runs.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median, stdev
from types import SimpleNamespace
from typing import Any

from exercise_counts import grey, odd, summed, trail
from tabs import FRAMEWORKS, Table

from vgg import Spec
from vgg.runs.statistics import judged
from vgg.timing.results import Measured, measured

RESULT = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "exercises.json"
FLOAT32 = 4
"""Bytes of a number."""
NETS = "alexnet", "vgg11"
SMALL_HEADS = {"side96": "flatten, 512, 512", "narrow_head": "flatten, 64, 64", "pooled": "average"}
"""The small nets at 96 pixels, and their heads before the last dense layer."""
SIZES = {f"side{side}": "VGG-11" for side in (224, 96, 84, 56)}
SIZES |= {"small_input": "small input", "late_pools": "late pools"}
"""The small nets of several input sizes, and what a table calls them."""


@lru_cache
def runs() -> dict[str, Any]:
    """Return the committed runs."""
    return dict(json.loads(RESULT.read_text(encoding="utf-8")))


def steps() -> dict[str, Mapping[str, Any]]:
    """Return the training steps of each framework, in the order of the tabs."""
    return {label: runs()["steps"][name] for name, label in FRAMEWORKS.items()}


def seconds(column: Mapping[str, Any], net: str) -> Measured:
    """Return the median of the seconds of a step, and half the range of the rounds as a share of it."""
    return measured(column["nets"][net]["train"])


def ratio(column: Mapping[str, Any], net: str, base: str) -> Measured:
    """Return the ratio of the medians of two nets, with the spread of the rounds' ratios."""
    one, other = (column["nets"][name]["train"] for name in (net, base))
    rounds = measured([a / b for a, b in zip(one, other, strict=True)])
    return Measured(median(one) / median(other), rounds.spread)


def whole(value: object) -> str:
    """Return a value as the text of a cell that is not broken into lines."""
    return str(value).replace(" ", "\N{NO-BREAK SPACE}")


def work(column: Mapping[str, Any], net: str) -> float:
    """Return the FLOPs of a step, which counts as three forward passes."""
    return float(6 * summed(Spec.from_dict(column["specs"][net])).macs * column["batch"])


def rates(column: Mapping[str, Any], net: str) -> tuple[float, float]:
    """Return the FLOPs per second of a net's convolutions and of its hidden dense layers.

    The time of the convolutions is that of the net with an average in place of these layers. They take the rest.
    """
    pooled = f"{net}_pooled"
    convs, whole_step = seconds(column, pooled).value, seconds(column, net).value
    return work(column, pooled) / convs, (work(column, net) - work(column, pooled)) / (whole_step - convs)


def dense_share(column: Mapping[str, Any], net: str) -> float:
    """Return the share of a step that is saved where an average takes the place of the hidden dense layers."""
    return 1 - ratio(column, f"{net}_pooled", net).value


def peak(column: Mapping[str, Any], net: str) -> str:
    """Return the largest resident memory of the process that trained the net."""
    return _gigabytes(column["nets"][net]["peak_bytes"])


def _gigabytes(count: int) -> str:
    return whole(f"{count / 1e9:.2f} GB")


def right(column: Mapping[str, Any]) -> str:
    """Return whether every net of a column computed what the oracle computes."""
    return "yes" if all(net["parity"]["ok"] for net in column["nets"].values()) else "**no**"


def _compared_steps(net: str, base: str) -> list[list[str]]:
    return [
        [label, *map(whole, (seconds(column, base), seconds(column, net), ratio(column, net, base))), right(column)]
        for label, column in steps().items()
    ]


def alexnet_steps() -> Table:
    """Return the time of a training step of AlexNet and VGG-11 in each framework."""
    return ["", "AlexNet, s", "VGG-11, s", "VGG-11 / AlexNet", "right"], _compared_steps("vgg11", "alexnet")


def alexnet_parts() -> Table:
    """Return the share of the dense layers in a step, AlexNet's rates, and the ratio of both nets without them."""
    rows = []
    for label, column in steps().items():
        shares = [f"{dense_share(column, net):.0%}" for net in NETS]
        speeds = [f"{speed / 1e9:.0f}" for speed in rates(column, "alexnet")]
        rows.append([label, *shares, *speeds, whole(ratio(column, "vgg11_pooled", "alexnet_pooled"))])
    columns = ["dense, AlexNet", "dense, VGG-11", "GFLOP/s, convolutions", "GFLOP/s, dense"]
    return ["", *columns, "VGG-11 / AlexNet without"], rows


def alexnet_memory() -> Table:
    """Return the memory of a training step of both nets: what the spec says of it, and the peak of each process."""
    totals = {net: summed(grey(net)) for net in NETS}
    batch = runs()["steps"]["torch"]["batch"]
    stored = [3 * FLOAT32 * total.params for total in totals.values()]
    outputs = [batch * FLOAT32 * total.activations for total in totals.values()]
    rows = [["parameters, gradients, velocities", *map(_gigabytes, stored)]]
    rows += [[f"activations of {batch} images", *map(_gigabytes, outputs)]]
    rows += [[f"{label}, the whole process", *(peak(column, net) for net in NETS)] for label, column in steps().items()]
    return ["", "AlexNet", "VGG-11"], rows


def heads_steps() -> Table:
    """Return time and memory of a step of VGG-11 with its own head and with an average in its place."""
    rows = _compared_steps("vgg11_pooled", "vgg11")
    for row, column in zip(rows, steps().values(), strict=True):
        row[-1:] = [peak(column, "vgg11"), peak(column, "vgg11_pooled"), row[-1]]
    return ["", "own head, s", "average, s", "average / own", "memory, own", "memory, average", "right"], rows


def small(net: str) -> Spec:
    """Return the small net of that name, as it was trained."""
    return Spec.from_dict(runs()["accuracies"]["specs"][net])


def accuracies(net: str) -> list[float]:
    """Return the test accuracies of a small net in the order of its seeds."""
    outcomes = runs()["accuracies"]["runs"][net]
    return [outcomes[seed]["test_accuracy"] for seed in sorted(outcomes, key=int)]


def verdict(net: str, base: str, couples: int) -> dict[str, Any]:
    """Return what the seeds that both nets have say of their accuracies, one of ``couples`` pairs."""
    common = min(len(accuracies(net)), len(accuracies(base)))
    return judged(accuracies(net)[:common], accuracies(base)[:common], couples)


def trained(net: str) -> list[str]:
    """Return the milliseconds of a step and the accuracy of a small net, as a table shows them."""
    step, values = seconds(runs()["small"], net), accuracies(net)
    texts = f"{step.value * 1000:.0f} ± {step.spread:.0%}", f"{fmean(values):.4f} ± {stdev(values):.4f}"
    return [*map(whole, texts)]


def _compared(net: str, base: str, couples: int) -> str:
    if net == base:
        return ""
    result = verdict(net, base, couples)
    return f"{result['difference']:+.4f}, {result['word']}"


def heads_small() -> Table:
    """Return parameters, time and accuracy of the small net at 96 pixels with each head."""
    rows, base = [], next(iter(SMALL_HEADS))
    for net, label in SMALL_HEADS.items():
        params = f"{summed(small(net)).params:,}"
        rows.append([label, params, *trained(net), _compared(net, base, len(SMALL_HEADS) - 1)])
    return ["head", "parameters", "step, ms", "accuracy", "against the first"], rows


def sizes() -> Table:
    """Return the maps of the small nets at each size: sides after each pool, those that are odd, and the counts."""
    rows = []
    for net, label in SIZES.items():
        spec, total = small(net), summed(small(net))
        sides, odds = (" ".join(map(str, values)) for values in (trail(spec), odd(spec)))
        last = "x".join(map(str, spec.feature_shape))
        rows.append([label, sides, odds or "none", last, f"{total.params:,}", f"{total.macs:,}"])
    return ["network", "sides", "odd before a pool", "last map", "parameters", "MACs"], rows


def sizes_small() -> Table:
    """Return time and accuracy of the small nets at each size; the accuracies are compared with that at 96 pixels."""
    rows, base = [], "side96"
    for net, label in SIZES.items():
        compared = _compared(net, base, len(SIZES) - 1)
        rows.append([label, str(small(net).input_shape[1]), *trained(net), str(len(accuracies(net))), compared])
    return ["network", "pixels", "step, ms", "accuracy", "seeds", "against 96 pixels"], rows


@lru_cache
def numbers() -> dict[str, SimpleNamespace]:
    """Return the numbers of runs that the text quotes.

    ``step_share`` and ``pixel_share``: the time of a step and the pixels of the small nets, as shares of those at 224
    pixels. ``small_share``: the parameters of cheaper heads, as a share of those of the first. ``seeds``: their number.
    ``visible``: the difference from the accuracy at 96 pixels that so many seeds would have seen.
    """
    whole_step = seconds(runs()["small"], "side224").value
    steps_of = {net: seconds(runs()["small"], net).value / whole_step for net in SIZES}
    pixels = {net: (small(net).input_shape[1] / 224) ** 2 for net in SIZES}
    params = {net: summed(small(net)).params / summed(small("side96")).params for net in SMALL_HEADS}
    groups: dict[str, dict[str, float]] = {"step_share": steps_of, "pixel_share": pixels, "small_share": params}
    groups["seeds"] = {net: len(accuracies(net)) for net in runs()["accuracies"]["runs"]}
    groups["visible"] = {net: verdict(net, "side96", len(SIZES) - 1)["visible"] for net in ("side84", "side56")}
    return {name: SimpleNamespace(**values) for name, values in groups.items()}


def made() -> Table:
    """Return where and when the runs were made: the frameworks with their versions, machines, dates and commits."""
    parts = {f"steps, {label}": column for label, column in steps().items()}
    parts |= {"steps, small nets": runs()["small"], "accuracies": runs()["accuracies"]}
    rows = []
    for what, part in parts.items():
        machine = f"{part['machine']['cores']} cores of {part['machine']['cpu']}"
        rows.append([what, part["framework"], machine, part["date"][:10], part["commit"]])
    return ["runs", "framework", "machine", "date", "commit"], rows


TABLES: dict[str, Callable[[], Table]] = {
    table.__name__: table
    for table in (
        *(alexnet_steps, alexnet_parts, alexnet_memory, heads_steps),
        *(heads_small, sizes, sizes_small, made),
    )
}
