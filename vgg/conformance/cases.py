"""The small nets and data that the suite runs backends on, chosen so that no wrong axis, order or default can hide.

Extents are pairwise distinct and of mixed parity. The last map is larger than 1x1. Widths differ from layer to layer.
Every parameter and running statistic is noisy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import init
from ..core.architectures import arch, arch_names
from ..core.blocks import Block, Conv, Head, Pool
from ..core.spec import Spec

Array = NDArray[Any]
Arrays = dict[str, Array]
_ODD: dict[str, Any] = {"input_shape": (3, 35, 51), "classes": 6}


@dataclass(frozen=True)
class Case:
    """A spec with seeded parameters, ``batch`` images and labels."""

    spec: Spec
    batch: int = 3
    seed: int = 0

    def params(self, dtype: str) -> Arrays:
        """Return noisy canonical parameters, rounded to ``dtype``."""
        return {name: array.astype(dtype) for name, array in self._params.items()}

    def images(self, dtype: str) -> Array:
        """Return images (batch, C, H, W), standard normal."""
        return self._random(1).standard_normal((self.batch, *self.spec.input_shape)).astype(dtype)

    def labels(self) -> Array:
        """Return labels (batch,), int64."""
        return self._random(2).randint(0, self.spec.classes, self.batch).astype(np.int64)

    @cached_property
    def _params(self) -> dict[str, NDArray[np.float64]]:
        random = self._random(3)
        noisy: dict[str, NDArray[np.float64]] = {}
        for name, array in init.init(self.spec, self.seed, "he_normal", "float64").items():
            noise = self._noise(random, array.shape)
            noisy[name] = array + (np.abs(noise) if name.endswith("running_var") else 0.2 * noise * (array.ndim == 1))
        return noisy

    def _noise(self, random: np.random.RandomState, shape: tuple[int, ...]) -> Array:
        """Return standard normal noise of that shape; weights do not use it."""
        return random.standard_normal(shape)

    def _random(self, stream: int) -> np.random.RandomState:
        return np.random.RandomState([self.seed, stream])


class Dead(Case):
    """A case whose first channel has weights and a bias of zero: its outputs are zero, where ReLU has no slope."""

    def params(self, dtype: str) -> Arrays:
        """Return the parameters of a ``Case``, with zeros for that channel."""
        noisy = super().params(dtype)
        for part in ("weight", "bias"):
            noisy[f"block1.conv1.{part}"][0] = 0
        return noisy


class Uneven(Case):
    """A case each of whose images is a hundred thousand times as bright as the one before.

    Their logits differ as much, so a softmax may compare only the logits of one image.
    """

    def images(self, dtype: str) -> Array:
        """Return images (batch, C, H, W)."""
        brightness: Array = 1e5 ** np.arange(self.batch)[:, None, None, None]
        return (super().images("float64") * brightness).astype(dtype)


_PLAIN = Spec.from_blocks(((1, 5), (1, 7), (2, 11)), head=Head((19, 17)), name="plain", **_ODD)
_MIXED = Spec(
    (
        Block((Conv(6, 11, 4, 1, lrn=True),), Pool(3, 2)),
        Block((Conv(7, 5, 1, 2), Conv(5, 1, 1, 0)), Pool(2, 1)),
        Block((Conv(9, lrn=True),), None),
    ),
    input_shape=(3, 67, 101),
    classes=6,
    head=Head((17, 17, 17), dropout=0.25),
    name="mixed",
)
"""All that Table 1 and AlexNet have and the plain net lacks, and two dense layers of the same shape."""

CASES = {
    "plain": Case(_PLAIN),
    "mixed": Case(_MIXED, batch=1),
    "batch_norm": Case(_PLAIN.modified(batch_norm=True)),
    "global_pool": Case(_PLAIN.modified(global_pool=True, hidden=(), batch_norm=True)),
}
"""Cases for forward and backward passes, in float64 and float32, in eval and train mode."""

SHARP = {"dead": Dead(_PLAIN), "uneven": Uneven(_PLAIN, batch=2)}
"""Cases for backward passes alone, in float64. Where ReLU's input is exactly zero, all frameworks give it a gradient of
zero; and a softmax subtracts the largest logit of each image, not of the batch.
"""

_TINY = Spec.from_blocks(((1, 7),), input_shape=(3, 7, 11), classes=6, head=Head((2003,), dropout=0.25))
DROPOUT = Case(_TINY.modified(batch_norm=True))
"""A case whose hidden layer is so wide that the scale shows whichever units are dropped."""

TRAJECTORIES = {
    "plain": Case(_PLAIN, batch=5, seed=1),
    "batch_norm": Case(_PLAIN.modified(dropout=0, batch_norm=True), batch=5, seed=5),
}
"""Cases for training steps: with neutral dropout masks, and with batch norm but no dropout, as most people train.
With these seeds no ReLU and no max-pool comes within float32's rounding of switching, where gradients would jump, in
fifty steps."""

RELAYED = Case(_PLAIN.modified(batch_norm=True), batch=5)
"""The case for training that begins in one framework and ends in another: float64, with all that a state can hold."""

LEARNERS = TRAJECTORIES | {name: CASES[name] for name in ("mixed", "global_pool")}
"""Cases for a step on pixels. Trajectories leave out the last two; the very last gets pixels of the network's size."""

NARROW = Case(
    Spec.from_blocks(((1, 5), (1, 7)), head=Head((11,)), batch_norm=True, **{**_ODD, "input_shape": (3, 6, 9)}),
    batch=2,
    seed=785,
)
"""The case for a step in bf16. The seed keeps ReLUs and max-pools far from switching, where gradients jump by far more
than bf16 rounds."""

TF32 = Case(
    Spec.from_blocks(((1, 32), (1, 64)), head=Head((64,)), batch_norm=True, **{**_ODD, "input_shape": (3, 6, 9)}),
    batch=8,
    seed=106,
)
"""The case for a step in TF32, which libraries use only for products that are large enough and of suitable widths."""


def _wide(height: int, width: int) -> Case:
    blocks, head = ((2, 64),), Head((64,))
    fields: dict[str, Any] = {"input_shape": (3, height, width), "classes": 10, "batch_norm": True}
    return Case(Spec.from_blocks(blocks, head=head, name="wide", **fields), batch=32)


WIDE = _wide(18, 12)
"""The case for repeating steps at a real width: libraries divide large sums among threads, but not small ones."""

FULL = _wide(72, 64)
"""The same at a real size, with activations above 32 MiB. From that size on TensorFlow's sums depend on timing if it
has more than one inter-op thread."""


def _small(name: str) -> Case:
    """Return an architecture of Table 1 or AlexNet at a sixteenth of its width, on images with odd, unequal sides."""
    spec = arch(name)
    return Case(spec.modified(narrow=16, input_shape=(2, 67, 101), hidden=(13, 11), classes=7), batch=2)


STRUCTURES = {name: _small(name) for name in arch_names() if "narrow" not in name} | {
    "vgg11_narrow": Case(arch("vgg11_narrow").modified(hidden=(13, 11)), batch=1),
    "global_pool": CASES["global_pool"],
}
"""Every architecture by name, with vgg11_narrow at the book's 224 -> 7 but without the 42 million parameters of its
head; and ``global_pool``, whose head no architecture has."""
