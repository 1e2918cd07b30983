"""The numbers on the pages of the documentation, computed or read from committed runs when the pages are built.

``text("vgg16.params:,")`` gives a number as a page shows it: a name, attributes or items of it, and a format, in the
notation of ``str.format``. ``TABLES`` holds the tables by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import exercise_counts
import exercise_results
from tabs import FRAMEWORKS, Table

from vgg import Block, Conv, Head, Spec, arch, arch_names, expand, totals
from vgg.conformance.cases import CASES
from vgg.core import oracle
from vgg.core.block_table import block_table
from vgg.core.recipe import recipe, recipe_names
from vgg.training import data

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
_CHANNELS, _SIDE = 64, 56
"""Of the convolutions that page two compares."""


@lru_cache
def names() -> dict[str, Any]:
    """Return what ``text`` knows: architectures, and committed results under their file's name with underscores."""
    results = {path.stem.replace("-", "_"): json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    columns = results["compare_digits"]["backends"].values()
    accuracies = [column["test_accuracy"] for column in columns]
    worst = SimpleNamespace(logits=max(column["logits_error"] for column in columns))
    counted = {name: _counted(arch(name)) for name in arch_names()}
    lines = len(Path(oracle.__file__).read_text().splitlines())
    others = {"chance": _chance(accuracies), "worst": worst, "oracle": SimpleNamespace(lines=lines)}
    return results | counted | _windows() | others | exercise_counts.numbers() | exercise_results.numbers()


def _chance(accuracies: list[float]) -> SimpleNamespace:
    """Return what chance does to an accuracy on the digits' test images, and how far ``accuracies`` are apart."""
    digits = data.load("digits")
    images, train, guess = len(digits.test_labels), len(digits.train_labels), math.log(digits.classes)
    spread = math.sqrt(0.96 * 0.04 / images)
    apart = max(accuracies) - min(accuracies)
    return SimpleNamespace(images=images, train=train, guess=guess, step=1 / images, spread=spread, range=apart)


def _counted(spec: Spec) -> SimpleNamespace:
    total, rows = totals(expand(spec)), block_table(spec)
    return SimpleNamespace(
        **asdict(total),
        convs=sum(row.convs for row in rows),
        dense=sum(row.dense for row in rows),
        dense_params=total.params - total.conv_params,
        dense_share=1 - total.conv_params / total.params,
        conv_mac_share=total.conv_macs / total.macs,
        layers=sum(row.convs + row.dense for row in rows),
    )


def _windows() -> dict[str, SimpleNamespace]:
    """Return the costs of convolutions that see the same window: one of 5x5 or 7x7, or two or three of 3x3."""
    kinds = {"one5": ((5,), 2), "two3": ((3, 3), 1), "one7": ((7,), 3), "three3": ((3, 3, 3), 1)}
    return {name: _stack(kernels, padding) for name, (kernels, padding) in kinds.items()}


def _stack(kernels: tuple[int, ...], padding: int) -> SimpleNamespace:
    convs = tuple(Conv(_CHANNELS, kernel, padding=padding) for kernel in kernels)
    spec = Spec((Block(convs, None),), (_CHANNELS, _SIDE, _SIDE), classes=1, head=Head((), 0.0, global_pool=True))
    total = totals(expand(spec))
    weights = total.conv_params - _CHANNELS * len(kernels)
    return SimpleNamespace(params=total.conv_params, weights=weights, macs=total.conv_macs, relus=len(kernels))


def text(template: str) -> str:
    """Return the number that ``template`` names. Raises ``KeyError``, ``AttributeError`` or ``ValueError``."""
    return ("{" + template + "}").format(**names())


def windows() -> Table:
    """Return the table of convolutions with the same receptive field."""
    shown = (("5x5", "one5", 5), ("3x3, 3x3", "two3", 5), ("7x7", "one7", 7), ("3x3, 3x3, 3x3", "three3", 7))
    rows = [
        [label, f"{side}x{side}", f"{(w := names()[name]).weights:,}", f"{w.macs:,}", str(w.relus)]
        for label, name, side in shown
    ]
    return ["convolutions", "receptive field", "weights", "MACs", "nonlinearities"], rows


def costs() -> Table:
    """Return the table that compares AlexNet with the VGGs, for the same images and classes."""
    shown = ("alexnet", "vgg11", "vgg13", "vgg16", "vgg19")
    rows = []
    for name in shown:
        counts = _counted(arch(name, input_shape=(3, 224, 224), classes=1000))
        shares = f"{counts.dense_share:.0%}", f"{counts.conv_mac_share:.0%}"
        rows.append([f"`{name}`", str(counts.layers), f"{counts.params:,}", f"{counts.macs:,}", *shares])
    about = [
        "network",
        "layers with weights",
        "parameters",
        "MACs",
        "parameters in dense layers",
        "MACs in convolutions",
    ]
    return about, rows


def alexnet() -> Table:
    """Return what AlexNet's convolutions are, one by one."""
    rows, channels = [], arch("alexnet").input_shape[0]
    for row in expand(arch("alexnet")):
        if row.kind == "conv":
            window = [str(row.attributes[name]) for name in ("kernel", "stride", "padding")]
            rows.append(
                [row.name, str(channels), str(row.output_shape[0]), *window, f"{row.params:,}", f"{row.macs:,}"]
            )
        channels = row.output_shape[0]
    return ["layer", "from channels", "to", "kernel", "stride", "padding", "parameters", "MACs"], rows


def recipes() -> Table:
    """Return the recipes that ship with vgg."""
    rows = []
    for name, plan in ((name, recipe(name)) for name in recipe_names()):
        drops = ", ".join(f"x{factor:g} after {epoch} epochs" for epoch, factor in plan.lr_drops)
        drops = drops or (f"x{plan.plateau[0]:g} when validation stalls" if plan.plateau else "none")
        start = f"{plan.epochs} of batch {plan.batch_size} at {plan.size} px"
        rows.append([f"`{name}`", plan.dataset, start, f"{plan.lr:g}", f"{plan.momentum:g}", drops, plan.init])
    return ["recipe", "dataset", "epochs", "learning rate", "momentum", "learning-rate drops", "initialisation"], rows


def accuracies() -> Table:
    """Return the final losses and accuracies of the run whose curves page five shows."""
    runs = names()["lesson_digits"]["curves"]["runs"]
    rows = [
        [FRAMEWORKS[name], f"{run['losses'][0]:.3f}", f"{run['losses'][-1]:.3f}", f"{run['accuracies'][-1]:.4f}"]
        for name, run in runs.items()
    ]
    return ["framework", "first loss", "last loss", "test accuracy"], rows


def initialisations() -> Table:
    """Return the losses that a shallow and a deep net reach from each initialisation."""
    runs = names()["lesson_digits"]["initialisations"]["runs"]
    return ["network", "initialisation", "first loss", "loss after the last step", "test accuracy"], [
        [f"`{run['arch']}`", run["init"], _number(run["first"]), _number(run["last"]), _number(run["accuracy"])]
        for run in runs
    ]


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.3f}"


def judged() -> Table:
    """Return how much of each backend the committed ``vgg check`` judged."""
    result = names()["check"]
    rows = [
        [FRAMEWORKS[name], *("{} of {}".format(*result["judged"][name]),), f"{result['seconds'][name]:.0f}"]
        for name in result["judged"]
    ]
    return ["framework", "judged and right", "seconds"], rows


def cases() -> Table:
    """Return the small nets that the suite judges first, with the map that their last block puts out."""
    rows = [
        [name, *("x".join(map(str, shape)) for shape in (case.spec.input_shape, _last_map(case.spec))), str(case.batch)]
        for name, case in CASES.items()
    ]
    return ["case", "input", "last map", "batch"], rows


def _last_map(spec: Spec) -> tuple[int, ...]:
    return [row.output_shape for row in expand(spec) if row.name.startswith("block")][-1]


TABLES: dict[str, Callable[[], Table]] = {
    table.__name__: table for table in (windows, costs, alexnet, recipes, accuracies, initialisations, judged, cases)
}
TABLES |= exercise_counts.TABLES | exercise_results.TABLES
