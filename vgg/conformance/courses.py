"""Nets, pixels and learning rates for several steps in which no ReLU and no max-pool comes near to switching."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..core import oracle
from ..core.blocks import Block, Conv, Head, Pool
from ..core.layers import expand
from ..core.masks import masks
from ..core.oracle import Mode
from ..core.recipe import Recipe
from ..core.resize import resize_matrix
from ..core.spec import Spec
from .cases import Array, Arrays, Case

LOUD, QUIET = 45.0, 1 / 25
"""Factors of weights. Before an LRN activations grow until alpha times their sum of squares is of the order of k; after
it they shrink again, unless a batch norm does that."""


@dataclass(frozen=True)
class Course:
    """``steps`` steps on two batches in turn: uint8 pixels (N, C, *sides), or floating images without ``sides``.

    The learning rate changes from step to step, and stays so small that no ReLU comes near to switching.
    """

    case: Case
    recipe: Recipe
    smallest_rate: float
    sides: tuple[int, int] | None = None
    steps: int = 4

    def images(self, step: int) -> Array:
        """Return the images of that step as the learner gets them."""
        random = np.random.RandomState([self.case.seed, 7, step % 2])
        shape = self.case.batch, *self.case.spec.input_shape
        if not self.sides:
            return random.standard_normal(shape).astype(np.float32)
        return random.randint(0, 256, (*shape[:2], *self.sides)).astype(np.uint8)

    def seen(self, step: int) -> NDArray[np.float64]:
        """Return the same images as the net gets them, (N, C, H, W)."""
        return prepared(self.images(step), self.recipe, self.case.spec)

    def labels(self, step: int) -> Array:
        """Return the labels of that step (N,), int64."""
        classes = self.case.spec.classes
        return np.random.RandomState([self.case.seed, 8, step % 2]).randint(0, classes, self.case.batch)

    def rate(self, step: int) -> float:
        """Return the learning rate of that step."""
        return self.smallest_rate * (1 + step % 3)

    def masks(self, step: int) -> Arrays:
        """Return the neutral dropout masks of that step."""
        return dict(masks(self.case.spec, self.case.batch, self.case.seed, step))


def prepared(images: Array, recipe: Recipe, spec: Spec) -> NDArray[np.float64]:
    """Return pixels scaled, normalised and resized, in float64; floating images unchanged, in float64."""
    if images.dtype != np.uint8:
        return images.astype(np.float64)
    down, across = (resize_matrix(*pair) for pair in zip(images.shape[2:], spec.input_shape[1:], strict=True))
    return down @ ((images / 255 - recipe.mean) / recipe.std) @ across.T


@lru_cache(maxsize=16)
def steady(course: Course) -> Arrays:
    """Return parameters in float64 for which no ReLU comes near to switching in any step.

    Gradients jump there, by far more than a narrow format rounds. Every bias moves its channel's zero to the middle of
    the widest gap between its values.
    """
    spec, params = course.case.spec, _loud(course.case)
    rows = expand(spec)
    for row, after in pairwise(rows):
        if after.kind == "relu":
            modes = (Mode(train=True, masks=course.masks(step)) for step in range(course.steps + 2))
            tapes = [oracle.forward(spec, params, course.seen(step), mode) for step, mode in enumerate(modes)]
            values = np.concatenate([tape.activations[row.name] for tape in tapes])
            params = params | {f"{row.name}.bias": params[f"{row.name}.bias"] - _gaps(values)}
    return params


def _loud(case: Case) -> Arrays:
    """Return the case's parameters, with weights so large before every LRN that it matters."""
    params, rows = case.params("float64"), expand(case.spec)
    for number, row in enumerate(rows):
        if row.kind == "lrn":
            params[f"{rows[number - 2].name}.weight"] *= LOUD
            if not case.spec.batch_norm:
                params[f"{next(r.name for r in rows[number:] if r.parameters)}.weight"] *= QUIET
    return params


def _gaps(values: Array) -> Array:
    """Return, for each channel of ``values`` (N, C, ...), the middle of the widest gap in their middle half, (C,)."""
    channels = np.sort(values.swapaxes(0, 1).reshape(values.shape[1], -1))
    quarter = channels.shape[1] // 4
    inner = channels[:, quarter : channels.shape[1] - quarter]
    at = np.arange(len(inner)), np.diff(inner).argmax(axis=1)
    middles: Array = (inner[at] + inner[at[0], at[1] + 1]) / 2
    return middles


def _spec(name: str, blocks: tuple[Block, ...], shape: tuple[int, int, int], head: Head, batch_norm: bool) -> Spec:
    return Spec(blocks, input_shape=shape, classes=6, head=head, batch_norm=batch_norm, name=name)


COURSES = {
    "lrn": Course(
        Case(
            _spec(
                "lrn",
                (Block((Conv(6, 3, 2, 1, lrn=True),), Pool(3, 2)), Block((Conv(5),), None)),
                (3, 9, 13),
                Head((11,), 0.25),
                batch_norm=False,
            ),
            batch=3,
            seed=14,
        ),
        Recipe(momentum=0.9, weight_decay=1e-4, mean=0.45, std=0.25),
        2e-5,
        (17, 8),
    ),
    "batch_norm": Course(
        Case(
            _spec(
                "batch_norm",
                (Block((Conv(5, 3, 2, 1, lrn=True),), Pool(3, 1)), Block((Conv(7, 2, 1, 1),), None)),
                (1, 8, 11),
                Head((97,), 0.5),
                batch_norm=True,
            ),
            batch=3,
            seed=276,
        ),
        Recipe(momentum=0.5, weight_decay=5e-4, mean=0.286, std=1.0),
        2e-5,
        (4, 11),
    ),
    "plain": Course(
        Case(
            _spec("plain", (Block((Conv(4),)),), (2, 6, 9), Head((9,), 0.0, global_pool=True), batch_norm=False),
            batch=2,
            seed=9,
        ),
        Recipe(momentum=0.0, weight_decay=1e-2, mean=0.5, std=0.5),
        1e-2,
        None,
        3,
    ),
}
"""The courses by name: with LRNs that matter, strides, overlapping pools, batch norm, dropout, pixels of one channel
and of three, and sides that grow and shrink; and one without momentum. With these seeds the largest value of a
max-pool's window is far from the second largest."""
