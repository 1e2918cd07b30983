"""The tables of the exercises that follow from specs alone, and the counts that the text quotes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from tabs import Table

from vgg import Spec, arch, expand, totals
from vgg.core.layers import Totals

PAPER = {"vgg11": 133, "vgg11_lrn": 133, "vgg13": 133, "vgg16_1x1": 134, "vgg16": 138, "vgg19": 144}
"""Millions of parameters in Table 2 of the paper, which has one number for A and A-LRN."""
COLUMNS = dict(zip(PAPER, ("A", "A-LRN", "B", "C", "D", "E"), strict=True))
HEADS: dict[str, dict[str, Any]] = {
    "flatten, 4096, 4096": {},
    "flatten, 256, 256": {"hidden": (256, 256)},
    "average, 4096, 4096": {"global_pool": True},
    "average": {"global_pool": True, "hidden": ()},
}
"""The heads as a table calls them, before the last dense layer, and how they change VGG-11."""
QUOTED = {"small": "flatten, 256, 256", "average": "average"}
"""The heads that the text quotes, by the name that it uses."""
COUNTED: dict[str, Callable[[Totals], int]] = {
    "parameters of convolutions": lambda total: total.conv_params,
    "parameters of dense layers": lambda total: total.params - total.conv_params,
    "parameters": lambda total: total.params,
    "FLOPs of convolutions": lambda total: 2 * total.conv_macs,
    "FLOPs of dense layers": lambda total: 2 * (total.macs - total.conv_macs),
    "FLOPs": lambda total: 2 * total.macs,
    "activations": lambda total: total.activations,
}
"""What AlexNet and VGG-11 are compared by, per image."""


def grey(name: str, **changes: Any) -> Spec:
    """Return an architecture for the chapters' images: grey, 224 pixels, ten classes."""
    return arch(name, input_shape=(1, 224, 224), classes=10, **changes)


def summed(spec: Spec) -> Totals:
    """Return the totals of a spec."""
    return totals(expand(spec))


def alexnet_counts() -> Table:
    """Return what AlexNet and VGG-11 cost per image, and how many times as much VGG-11 costs."""
    one, other = summed(grey("alexnet")), summed(grey("vgg11"))
    rows = [
        [what, f"{count(one):,}", f"{count(other):,}", f"{count(other) / count(one):.1f}"]
        for what, count in COUNTED.items()
    ]
    return ["per image", "AlexNet", "VGG-11", "ratio"], rows


def headed(head: str) -> Totals:
    """Return the totals of VGG-11 with a head of ``HEADS``."""
    return summed(grey("vgg11", **HEADS[head]))


def heads() -> Table:
    """Return what the head of VGG-11 costs, and the whole network with it, for several heads."""
    whole, rows = summed(grey("vgg11")).params, []
    for label in HEADS:
        total = headed(label)
        own = f"{total.params - total.conv_params:,}", f"{2 * (total.macs - total.conv_macs):,}"
        rows.append([label, *own, f"{total.params:,}", f"{total.params / whole:.1%}"])
    return ["head", "its parameters", "its FLOPs", "parameters of the network", "share of the first"], rows


def paper() -> Table:
    """Return the columns of Table 1 with their layers and parameters, and what the paper prints."""
    rows = []
    for name, column in COLUMNS.items():
        blocks, head = arch(name).blocks, arch(name).head
        convs = [len(block.convs) for block in blocks]
        layers = sum(convs) + len(head.hidden) + 1
        params = f"{summed(arch(name)).params:,}"
        rows.append([column, f"`{name}`", " ".join(map(str, convs)), str(layers), params, str(PAPER[name])])
    return ["column", "name", "convolutions", "layers", "parameters", "paper, in millions"], rows


def trail(spec: Spec) -> list[int]:
    """Return the side of the input, and of the map after each pool."""
    return [spec.input_shape[1], *(row.output_shape[1] for row in expand(spec) if row.kind == "max_pool")]


def odd(spec: Spec) -> list[int]:
    """Return the odd sides that a pool of 2x2 halves: their last row and column are in no window."""
    return [side for side, after in pairwise(trail(spec)) if side != 2 * after]


@lru_cache
def numbers() -> dict[str, SimpleNamespace]:
    """Return the counts that the text quotes, by the name that it uses.

    ``times``: VGG-11 / AlexNet. ``head_share``: the parameters of VGG-11 with a cheaper head, as a share. ``reuse``:
    FLOPs of convolutions per parameter. ``dense_flops``: the dense layers' share of the FLOPs. ``crossing``: from how
    many images on the activations outweigh parameters, gradients and velocities.
    """
    both = {name: summed(grey(name)) for name in ("alexnet", "vgg11")}
    one, other = both.values()
    quoted: dict[str, dict[str, float]] = {
        "times": {what.replace(" ", "_"): count(other) / count(one) for what, count in COUNTED.items()},
        "head_share": {name: headed(head).params / other.params for name, head in QUOTED.items()},
        "reuse": {name: 2 * total.conv_macs / total.conv_params for name, total in both.items()},
        "dense_flops": {name: 1 - total.conv_macs / total.macs for name, total in both.items()},
        "crossing": {name: 3 * total.params // total.activations + 1 for name, total in both.items()},
    }
    return {name: SimpleNamespace(**values) for name, values in quoted.items()}


TABLES: dict[str, Callable[[], Table]] = {table.__name__: table for table in (alexnet_counts, heads, paper)}
