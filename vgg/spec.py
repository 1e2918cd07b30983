"""The spec: one frozen, framework-free description of a VGG-like network.

A network is a sequence of blocks (convolutions, each followed by ReLU, then a max-pool) and a head of dense
layers. All of Table 1 of Simonyan & Zisserman (2015, arXiv:1409.1556), their batch-norm variants, the narrow nets of
the textbook chapters and AlexNet are values of the same type, ``Spec``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import mismatch, unknown

if TYPE_CHECKING:
    from pathlib import Path  # which would be a third of the time that it takes to import this package

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance. torch, Flax and MXNet default to this; Keras to 1e-3."""
BATCH_NORM_MOMENTUM = 0.9
"""Share of the old running statistic that is kept: Keras', Flax' and MXNet's sense; torch writes 1 - 0.9."""
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 2.0
"""Krizhevsky et al. (2012), section 3.3: ``x / (k + alpha * sum of squares over size channels) ** beta``."""


def _at_least(what: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise mismatch(what, repr(value), f"an integer >= {low}")


@dataclass(frozen=True, slots=True)
class Conv:
    """A square convolution and its ReLU; ``lrn`` adds local response normalisation after the ReLU."""

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    lrn: bool = False

    def __post_init__(self) -> None:
        for name, low in (("channels", 1), ("kernel", 1), ("stride", 1), ("padding", 0)):
            _at_least(f"conv.{name}", getattr(self, name), low)
        if self.padding >= self.kernel:
            raise mismatch("conv.padding", self.padding, f"less than the kernel, {self.kernel}")
        if not isinstance(self.lrn, bool):
            raise mismatch("conv.lrn", repr(self.lrn), "true or false")


@dataclass(frozen=True, slots=True)
class Pool:
    """A max-pool without padding; what does not fill a last window is dropped (floor)."""

    kernel: int = 2
    stride: int = 2

    def __post_init__(self) -> None:
        _at_least("pool.kernel", self.kernel, 1)
        _at_least("pool.stride", self.stride, 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions at one resolution, then a pool (or none)."""

    convs: tuple[Conv, ...]
    pool: Pool | None = Pool()

    def __post_init__(self) -> None:
        object.__setattr__(self, "convs", tuple(self.convs))
        if not self.convs:
            raise mismatch("block.convs", "none", "at least one convolution")

    @staticmethod
    def of(pair: Sequence[int]) -> Block:
        """The chapters' notation for a block: (number of 3x3 convolutions, channels)."""
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise mismatch("block", repr(pair), "a pair (convolutions, channels)")
        _at_least("convolutions of a block", pair[0], 1)
        return Block((Conv(pair[1]),) * pair[0])


@dataclass(frozen=True, slots=True)
class Head:
    """Hidden dense layers, each with ReLU and dropout, before the last dense layer that gives the logits.

    ``global_pool`` averages over height and width instead of flattening.
    """

    hidden: tuple[int, ...] = (4096, 4096)
    dropout: float = 0.5
    global_pool: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for width in self.hidden:
            _at_least("head.hidden", width, 1)
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise mismatch("head.dropout", repr(self.dropout), "a number in [0, 1)")
        if not isinstance(self.global_pool, bool):
            raise mismatch("head.global_pool", repr(self.global_pool), "true or false")


@dataclass(frozen=True, slots=True)
class Spec:
    """One network: ``input_shape`` is (channels, height, width), ``classes`` the width of the logits."""

    blocks: tuple[Block, ...]
    input_shape: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    head: Head = field(default_factory=Head)
    batch_norm: bool = False
    name: str = "custom"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        if not self.blocks:
            raise mismatch("spec.blocks", "none", "at least one block")
        if len(self.input_shape) != 3:
            raise mismatch("spec.input_shape", list(self.input_shape), "[channels, height, width]")
        for extent in self.input_shape:
            _at_least("spec.input_shape", extent, 1)
        _at_least("spec.classes", self.classes, 1)
        if not isinstance(self.batch_norm, bool):
            raise mismatch("spec.batch_norm", repr(self.batch_norm), "true or false")
        if not isinstance(self.name, str):
            raise mismatch("spec.name", repr(self.name), "a string")
        _ = self.feature_shape

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the last block's output; an input that does not survive is a ``VGGError``."""
        channels, *extents = self.input_shape
        for number, block in enumerate(self.blocks, 1):
            steps = [(c.kernel, c.stride, c.padding) for c in block.convs]
            if block.pool:
                steps.append((block.pool.kernel, block.pool.stride, 0))
            for kernel, stride, padding in steps:
                if min(extents) + 2 * padding < kernel:
                    got = "x".join(map(str, self.input_shape))
                    raise mismatch(
                        "spec.input_shape",
                        f"{got}, {extents[0]}x{extents[1]} where block{number} has a {kernel}x{kernel} window",
                        "at least 1x1 after every pool",
                        "take a larger input or fewer blocks",
                    )
                extents = [(extent + 2 * padding - kernel) // stride + 1 for extent in extents]
            channels = block.convs[-1].channels
        return (channels, extents[0], extents[1])

    @staticmethod
    def from_blocks(pairs: Iterable[Sequence[int]], *, narrow: int = 1, **fields: Any) -> Spec:
        """The chapters' notation: ``((1, 64), (1, 128), (2, 256), ...)``, then the fields of ``Spec``."""
        return Spec(tuple(Block.of(pair) for pair in pairs), **fields).modified(narrow=narrow)

    def modified(
        self,
        *,
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        narrow: int = 1,
        batch_norm: bool | None = None,
        hidden: Sequence[int] | None = None,
        dropout: float | None = None,
        global_pool: bool | None = None,
    ) -> Spec:
        """A spec like this one with some of it changed; ``narrow`` divides the channels of every convolution."""
        _at_least("narrow", narrow, 1)
        head = _changed(
            self.head, hidden=None if hidden is None else tuple(hidden), dropout=dropout, global_pool=global_pool
        )
        changes = {"classes": classes, "batch_norm": batch_norm, "head": head}
        blocks = tuple(_narrowed(block, narrow) for block in self.blocks)
        shape = None if input_shape is None else tuple(input_shape)
        return _changed(self, blocks=blocks, input_shape=shape, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings; ``from_dict`` gives the same spec back."""
        from . import specfile  # specfile needs the classes above

        return specfile.to_dict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Spec:
        """The spec that ``to_dict`` described; unknown keys and wrong types are a ``VGGError``."""
        from . import specfile

        return specfile.from_dict(data)

    def to_json(self) -> str:
        """One line of JSON."""
        import json  # slow to import, and few need it

        return json.dumps(self.to_dict())

    @staticmethod
    def from_json(text: str) -> Spec:
        """The spec in a JSON text; ``VGGError`` where it is not one."""
        from . import specfile

        return specfile.from_json(text)

    def to_toml(self) -> str:
        """A TOML document."""
        import tomli_w  # a worker has no tomli_w, and needs none

        return tomli_w.dumps(self.to_dict())

    @staticmethod
    def from_toml(text: str) -> Spec:
        """The spec in a TOML text; ``VGGError`` where it is not one."""
        from . import specfile

        return specfile.from_toml(text)

    @staticmethod
    def load(path: str | Path) -> Spec:
        """The spec in a ``.json`` or ``.toml`` file."""
        from . import specfile

        return specfile.load(path)


def _narrowed(block: Block, ratio: int) -> Block:
    for conv in block.convs:
        if conv.channels % ratio:
            raise mismatch("narrow", ratio, f"a divisor of every channel count, {conv.channels} among them")
    convs = tuple(dataclasses.replace(c, channels=c.channels // ratio) for c in block.convs)
    return dataclasses.replace(block, convs=convs)


_T = TypeVar("_T", bound=Head | Spec)


def _changed(value: _T, **changes: Any) -> _T:
    return dataclasses.replace(value, **{k: v for k, v in changes.items() if v is not None})


def _column(*counts: int, lrn: bool = False, last_kernel: int = 3) -> tuple[Block, ...]:
    """A column of Table 1: ``counts`` convolutions a block; ``last_kernel`` for the third of blocks 3, 4 and 5."""
    blocks = []
    for count, width in zip(counts, (64, 128, 256, 512, 512), strict=True):
        convs = [Conv(width)] * count
        if count > 2:
            convs[2] = Conv(width, kernel=last_kernel, padding=last_kernel // 2)
        blocks.append(Block(tuple(convs)))
    if lrn:
        blocks[0] = Block((dataclasses.replace(blocks[0].convs[0], lrn=True),))
    return tuple(blocks)


_TABLE_1 = {
    "vgg11": _column(1, 1, 2, 2, 2),
    "vgg11_lrn": _column(1, 1, 2, 2, 2, lrn=True),
    "vgg13": _column(2, 2, 2, 2, 2),
    "vgg16_1x1": _column(2, 2, 3, 3, 3, last_kernel=1),
    "vgg16": _column(2, 2, 3, 3, 3),
    "vgg19": _column(2, 2, 4, 4, 4),
}
"""Columns A, A-LRN, B, C, D and E."""

_ALEXNET = (
    Block((Conv(96, kernel=11, stride=4, padding=1),), Pool(3, 2)),
    Block((Conv(256, kernel=5, padding=2),), Pool(3, 2)),
    Block((Conv(384), Conv(384), Conv(256)), Pool(3, 2)),
)
"""Dive into Deep Learning, chapter "AlexNet": one stream, no LRN."""

_BOOK: dict[str, Any] = {"input_shape": (1, 224, 224), "classes": 10}
_ARCHS: dict[str, Spec] = {name: Spec(blocks, name=name) for name, blocks in _TABLE_1.items()}
_ARCHS["alexnet"] = Spec(_ALEXNET, name="alexnet", **_BOOK)
_ARCHS["vgg11_narrow"] = dataclasses.replace(_ARCHS["vgg11"], name="vgg11_narrow", **_BOOK).modified(narrow=4)
_ARCHS |= {f"{name}_bn": dataclasses.replace(spec, name=f"{name}_bn", batch_norm=True) for name, spec in _ARCHS.items()}


def arch_names() -> tuple[str, ...]:
    """Every name that ``arch`` knows, in the order of Table 1."""
    return tuple(_ARCHS)


def arch(name: str, **changes: Any) -> Spec:
    """The spec of that name, with the changes of ``Spec.modified``.

    Those of Table 1 take 3x224x224 and give 1000 classes; the chapters' ``vgg11_narrow`` and ``alexnet`` 1x224x224 and
    10.
    """
    if name not in _ARCHS:
        raise unknown("architecture", str(name), _ARCHS)
    return _ARCHS[name].modified(**changes)
