"""The examples of a step: split, order, crops and flips, the same for every backend.

All functions work on uint8 pixels of the dataset's own size. The compiled step scales and resizes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import VGGError, mismatch
from ..core.layers import expand
from ..core.philox import raw, stream
from ..core.recipe import Recipe
from ..core.spec import Spec

Images = NDArray[Any]
Indices = NDArray[np.int64]
Place = tuple[int, int]
"""(epoch, step in that epoch) of the next step, both counted from 0."""


@dataclass(frozen=True)
class Steps:
    """The steps of a run: every epoch divides ``examples`` images into batches of ``batch_size``; the last is short."""

    examples: int
    batch_size: int

    @staticmethod
    def of(recipe: Recipe, count: int) -> Steps:
        """Return the steps of a run on ``count`` training images, of which the recipe may hold some out."""
        return Steps(len(split(count, recipe.validation, recipe.seed)[0]), recipe.batch_size)

    @property
    def per_epoch(self) -> int:
        """The number of steps of an epoch."""
        return math.ceil(self.examples / self.batch_size)

    def images(self, step: int) -> int:
        """Return the number of images of a step, which is counted from 0 within its epoch."""
        return min(self.batch_size, self.examples - step * self.batch_size)

    def before(self, place: Place) -> int:
        """Return the number of steps before ``place``, in all epochs."""
        return place[0] * self.per_epoch + place[1]


def check_trainable(spec: Spec, steps: Steps) -> None:
    """Raise ``VGGError`` when a batch would give batch norm a single value per channel, whose variance says nothing.

    That is a batch of one image at a map of 1x1. torch raises an error there, and other frameworks train on the bias
    alone. Replicas change nothing: where batch norm trains on several, its statistics are those of the whole batch.
    """
    if error := untrainable(spec, steps):
        raise error


def untrainable(spec: Spec, steps: Steps) -> VGGError | None:
    """Return the error that ``check_trainable`` raises, or None."""
    smallest = steps.images(steps.per_epoch - 1)
    points = [row.name for row in expand(spec) if row.kind == "batch_norm" and math.prod(row.output_shape[1:]) == 1]
    if smallest > 1 or not points:
        return None
    got = f"{steps.batch_size}, which leaves a batch of 1 of the {steps.examples} images"
    wanted = f"2 images or more in every batch, because {points[0]} normalises maps of 1x1"
    return mismatch("--batch-size", got, wanted, "take another batch size")


def split(count: int, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split ``count`` examples into (indices for training, indices for validation), both sorted int64.

    ``share`` of them, drawn by ``seed``, are for validation. Raises ``VGGError`` when one part would be empty.
    """
    shuffled = np.argsort(stream(seed, "validation").random_raw(count), kind="stable")
    held_out = round(count * share)
    if share and not 0 < held_out < count:
        raise mismatch(
            "recipe.validation", f"{share}: {held_out} of {count} images", "some to train and some to validate on"
        )
    return np.sort(shuffled[held_out:]), np.sort(shuffled[:held_out])


def augmented(images: Images, recipe: Recipe, epoch: int, step: int) -> Images:
    """Crop each image of a batch (N, C, H, W) at a random place and flip it with probability 1/2, as the recipe says.

    Returns (N, C, height, width) of the crop. The random numbers are keyed by seed, epoch and step, so no step depends
    on another.
    """
    if recipe.crop == 1 and not recipe.flip:
        return images
    count, channels, height, width = images.shape
    rows, columns = _extent(height, recipe.crop), _extent(width, recipe.crop)
    bits = stream(recipe.seed, "augment", epoch, step).random_raw(3 * count).reshape(3, count)
    top, left = bits[0] % np.uint64(height - rows + 1), bits[1] % np.uint64(width - columns + 1)
    across = np.tile(np.arange(columns), (count, 1))
    if recipe.flip:
        across = np.where(bits[2, :, None] >> np.uint64(63), across[:, ::-1], across)
    down = top.astype(int)[:, None] + np.arange(rows)
    across = left.astype(int)[:, None] + across
    image, channel = np.arange(count)[:, None, None, None], np.arange(channels)[:, None, None]
    cropped: Images = images[image, channel, down[:, None, :, None], across[:, None, None, :]]
    return cropped


def centred(images: Images, recipe: Recipe) -> Images:
    """Return the middle of images (N, C, H, W), as large as a training crop, for evaluation."""
    height, width = images.shape[2:]
    rows, columns = _extent(height, recipe.crop), _extent(width, recipe.crop)
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, :, top : top + rows, left : left + columns]


def _extent(size: int, crop: float) -> int:
    return max(round(size * crop), 1)


def order(count: int, seed: int, epoch: int) -> Indices:
    """Return the order of an epoch's examples: a permutation of 0..count-1, int64 (count,), keyed by seed and epoch.

    Raises ``VGGError`` unless the arguments are integers >= 0.
    """
    for what, value in (("count", count), ("seed", seed), ("epoch", epoch)):
        _at_least(what, value, 0)
    return np.argsort(raw((count,), seed, epoch), kind="stable").astype(np.int64)


def batches(count: int, batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[Indices]:
    """Return the batches of an epoch from batch ``start`` (counted from 0): slices of ``order``, int64 (batch_size,).

    The last batch may be shorter. Raises ``VGGError`` when an argument is out of range.
    """
    _at_least("batch_size", batch_size, 1)
    _at_least("start", start, 0)
    examples = order(count, seed, epoch)
    return (examples[low : low + batch_size] for low in range(start * batch_size, count, batch_size))


def _at_least(what: str, value: int, low: int) -> None:
    if not isinstance(value, int) or value < low:
        raise mismatch(what, repr(value), f"an integer >= {low}")
