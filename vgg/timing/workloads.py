"""What is timed: networks, inputs and batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.architectures import arch
from ..core.blocks import Block, Conv, Head
from ..core.layers import expand, totals
from ..core.recipe import Recipe
from ..core.spec import Spec

KINDS = ("vgg", "zoo", "textbook")
"""Contenders: ours, the framework's own zoo at its best, and the way of its tutorials."""
BATCHES = 4
"""Different ones that a contender sees, again and again."""
FEW = 32
"""Different images in a batch: the oracle answers for each of them once."""


@dataclass(frozen=True)
class Workload:
    """A spec, the side in pixels of the uint8 images that it gets, and the batch sizes by device."""

    name: str
    spec: Spec
    pixels: int
    batches: dict[str, tuple[int, ...]]
    phases: tuple[str, ...] = ("train", "infer")
    kinds: tuple[str, ...] = KINDS

    @property
    def macs(self) -> int:
        """Multiply-adds of one image's forward pass; a training step is counted as three of them."""
        return totals(expand(self.spec)).macs

    def images(self, batch: int) -> NDArray[np.uint8]:
        """(BATCHES * batch, C, pixels, pixels), seeded noise; in a large batch, each image ``times(batch)`` times."""
        shape = (BATCHES * batch // times(batch), self.spec.input_shape[0], self.pixels, self.pixels)
        return np.repeat(np.random.RandomState(0).randint(0, 256, shape, np.uint8), times(batch), axis=0)

    def labels(self, batch: int) -> NDArray[np.int64]:
        """(BATCHES * batch,), seeded noise, likewise."""
        drawn = np.random.RandomState(1).randint(0, self.spec.classes, BATCHES * batch // times(batch))
        return np.repeat(drawn.astype(np.int64), times(batch))


def times(batch: int) -> int:
    """How often a batch holds each image, one after the other."""
    return batch // FEW if batch % FEW == 0 else 1


def recipe(batch: int, precision: str) -> Recipe:
    """The same plain SGD for every contender: a rate so small that noise for data does no harm."""
    return Recipe("bench", "synthetic", 1, batch, lr=1e-3, momentum=0.9, precision=precision, init="he_normal")


_LITTLE = Spec(
    (Block((Conv(4, 1, 32, 0),), None),), (1, 224, 224), 10, Head((), dropout=0.0, global_pool=True), name="little"
)
WORKLOADS = {
    w.name: w
    for w in (
        Workload("vgg11_narrow", arch("vgg11_narrow"), 28, {"cpu": (32,), "gpu": (128, 1024)}),
        Workload("vgg16", arch("vgg16"), 224, {"cpu": (4,), "gpu": (64, 256)}),
        Workload("pipeline", _LITTLE, 28, {"cpu": (32,), "gpu": (1024,)}, ("train",), ("vgg", "textbook")),
    )
}
"""``pipeline`` is a network of almost nothing: what is left is the way of 28-pixel images to 224 on the device."""


def find(name: str) -> Workload:
    """The workload of that name."""
    return WORKLOADS[name]


def about(workload: Workload, batch: int) -> dict[str, Any]:
    """For JSON."""
    return {"spec": workload.spec.to_dict(), "pixels": workload.pixels, "batch": batch, "macs": workload.macs}
