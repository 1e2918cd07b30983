"""The networks, inputs and batch sizes that are timed."""

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
"""The kinds of contender: ours, the framework's own zoo in its fastest configuration, and its tutorials' code."""
BATCHES = 4
"""The number of different batches, which a contender gets again and again."""
FEW = 32
"""The number of different images in a large batch: the oracle computes each of them once."""


@dataclass(frozen=True)
class Workload:
    """A spec, the side of its uint8 images in pixels, and the batch sizes by device."""

    name: str
    spec: Spec
    pixels: int
    batches: dict[str, tuple[int, ...]]
    phases: tuple[str, ...] = ("train", "infer")
    kinds: tuple[str, ...] = KINDS

    @property
    def macs(self) -> int:
        """Multiply-adds of one image's forward pass; a training step counts as three of them."""
        return totals(expand(self.spec)).macs

    def images(self, batch: int) -> NDArray[np.uint8]:
        """Return noise (BATCHES * batch, C, pixels, pixels), seeded; a batch has each image ``times(batch)`` times."""
        shape = (BATCHES * batch // times(batch), self.spec.input_shape[0], self.pixels, self.pixels)
        return np.repeat(np.random.RandomState(0).randint(0, 256, shape, np.uint8), times(batch), axis=0)

    def labels(self, batch: int) -> NDArray[np.int64]:
        """Return random labels (BATCHES * batch,), repeated like the images."""
        distinct = np.random.RandomState(1).randint(0, self.spec.classes, BATCHES * batch // times(batch))
        return np.repeat(distinct.astype(np.int64), times(batch))


def times(batch: int) -> int:
    """Return how many times in a row a batch contains each image."""
    return batch // FEW if batch % FEW == 0 else 1


def recipe(batch: int, precision: str) -> Recipe:
    """Return every contender's recipe: plain SGD, with so small a learning rate that training on noise is harmless."""
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
"""The workloads by name. ``pipeline`` is a network of almost nothing: it times how 28-pixel images get to 224 pixels on
the device."""


def find(name: str) -> Workload:
    """Return the workload of that name."""
    return WORKLOADS[name]


def about(workload: Workload, batch: int) -> dict[str, Any]:
    """Return what a result records about a workload, as a dict for JSON."""
    return {"spec": workload.spec.to_dict(), "pixels": workload.pixels, "batch": batch, "macs": workload.macs}
