"""The parts of a network: convolutions and pools in blocks, and a head of dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import mismatch

BATCH_NORM_EPSILON = 1e-5
"""The number that batch norm adds to the variance, the default of torch, Flax and MXNet; that of Keras is 1e-3."""
BATCH_NORM_MOMENTUM = 0.9
"""The share of the old running statistic that is kept, as in Keras, Flax and MXNet; torch's momentum is 1 - 0.9."""
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 2.0
"""Krizhevsky et al. (2012), section 3.3: ``x / (k + alpha * sum of squares over size channels) ** beta``."""


def at_least(what: str, value: Any, low: int) -> None:
    """Raise ``VGGError`` unless ``value`` is an integer >= ``low``; ``what`` names it in the message."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise mismatch(what, repr(value), f"an integer >= {low}")


@dataclass(frozen=True, slots=True)
class Conv:
    """A square convolution and its ReLU; ``lrn`` adds local response normalisation after the ReLU.

    ``kernel``, ``stride`` and ``padding`` are in pixels. Raises ``VGGError`` for values that describe no convolution.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    lrn: bool = False

    def __post_init__(self) -> None:
        for name, low in (("channels", 1), ("kernel", 1), ("stride", 1), ("padding", 0)):
            at_least(f"conv.{name}", getattr(self, name), low)
        if self.padding >= self.kernel:
            raise mismatch("conv.padding", self.padding, f"less than the kernel, {self.kernel}")
        if not isinstance(self.lrn, bool):
            raise mismatch("conv.lrn", repr(self.lrn), "true or false")


@dataclass(frozen=True, slots=True)
class Pool:
    """A max-pool without padding; rows and columns that do not fill a last window are dropped (floor).

    ``kernel`` and ``stride`` are in pixels. Raises ``VGGError`` unless both are integers >= 1.
    """

    kernel: int = 2
    stride: int = 2

    def __post_init__(self) -> None:
        at_least("pool.kernel", self.kernel, 1)
        at_least("pool.stride", self.stride, 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions, at least one, then a max-pool, or no pool if ``pool`` is None.

    Raises ``VGGError`` when there is no convolution.
    """

    convs: tuple[Conv, ...]
    pool: Pool | None = Pool()

    def __post_init__(self) -> None:
        object.__setattr__(self, "convs", tuple(self.convs))
        if not self.convs:
            raise mismatch("block.convs", "none", "at least one convolution")

    @staticmethod
    def of(pair: Sequence[int]) -> Block:
        """Return the block that a pair (number of 3x3 convolutions, channels) describes, as in the chapters.

        Raises ``VGGError`` when ``pair`` is not such a pair.
        """
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise mismatch("block", repr(pair), "a pair (convolutions, channels)")
        at_least("convolutions of a block", pair[0], 1)
        return Block((Conv(pair[1]),) * pair[0])


@dataclass(frozen=True, slots=True)
class Head:
    """Hidden dense layers, each with ReLU and dropout, before the last dense layer, which computes the logits.

    ``hidden`` holds their widths; ``dropout`` is the share of units that dropout sets to 0; ``global_pool`` averages
    over height and width instead of flattening. Raises ``VGGError`` for values that describe no head.
    """

    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    global_pool: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for width in self.hidden:
            at_least("head.hidden", width, 1)
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise mismatch("head.dropout", repr(self.dropout), "a number in [0, 1)")
        if not isinstance(self.global_pool, bool):
            raise mismatch("head.global_pool", repr(self.global_pool), "true or false")
