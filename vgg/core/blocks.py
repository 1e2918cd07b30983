"""The parts of a network: convolutions and pools in blocks, and a head of dense layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import limits
from .errors import mismatch
from .texts import shown
from .values import boolean, instance, integer, number, sequence

BATCH_NORM_EPSILON = 1e-5
"""The number that batch norm adds to the variance, the default of torch, Flax and MXNet; that of Keras is 1e-3."""
BATCH_NORM_MOMENTUM = 0.9
"""The share of the old running statistic that is kept, as in Keras, Flax and MXNet; torch's momentum is 1 - 0.9."""
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 2.0
"""From Krizhevsky et al. (2012), section 3.3: ``x / (k + alpha * sum of squares over size channels) ** beta``."""


_PAIR = "a pair (convolutions, channels)"


def settle(owner: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass to the plain values that its ``__post_init__`` has checked."""
    for name, value in values.items():
        object.__setattr__(owner, name, value)


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
        settle(self, channels=integer("conv.channels", self.channels, 1, limits.WIDTH))
        for name, low in (("kernel", 1), ("stride", 1), ("padding", 0)):
            settle(self, **{name: integer(f"conv.{name}", getattr(self, name), low, limits.EXTENT)})
        if self.padding >= self.kernel:
            raise mismatch("conv.padding", self.padding, f"less than the kernel, {self.kernel}")
        settle(self, lrn=boolean("conv.lrn", self.lrn))


@dataclass(frozen=True, slots=True)
class Pool:
    """A max-pool without padding; rows and columns that do not fill a last window are dropped (floor).

    ``kernel`` and ``stride`` are in pixels. Raises ``VGGError`` unless both are integers >= 1.
    """

    kernel: int = 2
    stride: int = 2

    def __post_init__(self) -> None:
        for name in ("kernel", "stride"):
            settle(self, **{name: integer(f"pool.{name}", getattr(self, name), 1, limits.EXTENT)})


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions, at least one, then a max-pool, or no pool if ``pool`` is None.

    Raises ``VGGError`` when there is no convolution.
    """

    convs: tuple[Conv, ...]
    pool: Pool | None = Pool()

    def __post_init__(self) -> None:
        convs = sequence("block.convs", self.convs, "a list of Conv", limits.CONVS)
        if not convs:
            raise mismatch("block.convs", "none", "at least one convolution")
        settle(self, convs=tuple(instance("block.convs", conv, Conv, "a list of Conv") for conv in convs))
        if self.pool is not None:
            instance("block.pool", self.pool, Pool, "a Pool or None")

    @staticmethod
    def of(pair: Iterable[int]) -> Block:
        """Return the block that a pair (number of 3x3 convolutions, channels) describes, as in the chapters.

        Raises ``VGGError`` when ``pair`` is not such a pair.
        """
        parts = sequence("block", pair, _PAIR, limits.CONVS)
        if len(parts) != 2:
            raise mismatch("block", shown(pair), _PAIR)
        count = integer("convolutions of a block", parts[0], 1, limits.CONVS)
        return Block((Conv(parts[1]),) * count)


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
        widths = sequence("head.hidden", self.hidden, "a list of integers", limits.DENSE)
        settle(self, hidden=tuple(integer("head.hidden", width, 1, limits.WIDTH) for width in widths))
        dropout = number("head.dropout", self.dropout, "a number in [0, 1)", lambda rate: 0 <= rate < 1)
        settle(self, dropout=dropout, global_pool=boolean("head.global_pool", self.global_pool))
