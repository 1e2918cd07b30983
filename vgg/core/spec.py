"""The spec: one frozen description of a VGG-like network that depends on no framework.

A network is a sequence of blocks (convolutions, each followed by ReLU, then a max-pool) and a head of dense
layers. All of Table 1 of Simonyan & Zisserman (2015, arXiv:1409.1556), their batch-norm variants, the narrow nets of
the textbook chapters and AlexNet are values of the same type, ``Spec``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from . import limits
from .blocks import Block, Conv, Head, Pool, settle
from .documents import json_value, toml_value
from .errors import VGGError, mismatch
from .texts import one_line, shown
from .values import boolean, instance, integer, named, sequence, text

if TYPE_CHECKING:
    from pathlib import Path  # it would take a third of the time that this package takes to import


@dataclass(frozen=True, slots=True)
class Spec:
    """One network: ``input_shape`` is (channels, height, width), ``classes`` the width of the logits.

    Raises ``VGGError`` when the values do not describe a network, for example when the input is too small.
    """

    blocks: tuple[Block, ...]
    input_shape: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000
    head: Head = field(default_factory=Head)
    batch_norm: bool = False
    name: str = "custom"

    def __post_init__(self) -> None:
        settle(self, blocks=_blocks(self.blocks), input_shape=_input_shape(self.input_shape))
        settle(self, classes=integer("spec.classes", self.classes, 1, limits.WIDTH))
        instance("spec.head", self.head, Head, "a Head")
        settle(self, batch_norm=boolean("spec.batch_norm", self.batch_norm), name=text("spec.name", self.name))
        _ = self.feature_shape

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the last block's output. Raises ``VGGError`` when the input is too small."""
        channels, *extents = self.input_shape
        for number, block in enumerate(self.blocks, 1):
            steps = [(c.kernel, c.stride, c.padding) for c in block.convs]
            if block.pool:
                steps.append((block.pool.kernel, block.pool.stride, 0))
            for kernel, stride, padding in steps:
                if min(extents) + 2 * padding < kernel:
                    raise self._too_small(f"{extents[0]}x{extents[1]} where block{number} has a {kernel}x{kernel}")
                extents = [(extent + 2 * padding - kernel) // stride + 1 for extent in extents]
            channels = block.convs[-1].channels
        return (channels, extents[0], extents[1])

    def _too_small(self, where: str) -> VGGError:
        got, do = "x".join(map(str, self.input_shape)), "take a larger input or fewer blocks"
        if channels_last(self.input_shape):
            do = f"channels come first, as in {'x'.join(map(str, self.input_shape[2:] + self.input_shape[:2]))}"
        return mismatch("spec.input_shape", f"{got}, {where} window", "at least 1x1 after every pool", do)

    @staticmethod
    def from_blocks(pairs: Iterable[Iterable[int]], *, narrow: int = 1, **fields: Any) -> Spec:
        """Return the spec of blocks in the chapters' notation: ``((1, 64), (1, 128), (2, 256), ...)``.

        A pair is (number of 3x3 convolutions, channels). ``narrow`` divides all channels; ``fields`` are the other
        fields of ``Spec``. Raises ``VGGError`` when these do not describe a network.
        """
        pairs = sequence("blocks", pairs, "a list of pairs (convolutions, channels)", limits.BLOCKS)
        named("spec", fields, FIELDS - {"blocks"})
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
        """Return a copy of this spec with changes; arguments that are None change nothing.

        ``narrow`` divides the channels of every convolution. ``hidden``, ``dropout`` and ``global_pool`` are fields of
        ``Head``. Raises ``VGGError`` when the result is not a network.
        """
        ratio = integer("narrow", narrow, 1, limits.WIDTH)
        head = _changed(self.head, hidden=hidden, dropout=dropout, global_pool=global_pool)
        changes = {"classes": classes, "batch_norm": batch_norm, "head": head}
        blocks = tuple(_narrowed(block, ratio) for block in self.blocks)
        return _changed(self, blocks=blocks, input_shape=input_shape, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings, from which ``from_dict`` makes the same spec.

        ``pool`` is false when a block has none, since TOML has no null.
        """
        blocks = [
            {"convs": list(map(asdict, b.convs)), "pool": asdict(b.pool) if b.pool else False} for b in self.blocks
        ]
        head = {**asdict(self.head), "hidden": list(self.head.hidden)}
        about = {"name": self.name, "input_shape": list(self.input_shape), "classes": self.classes}
        return {**about, "batch_norm": self.batch_norm, "blocks": blocks, "head": head}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Spec:
        """Return the spec that ``to_dict`` described; a block may also be a pair ``[convolutions, channels]``.

        Raises ``VGGError`` for unknown keys and wrong types.
        """
        data = named("spec", data, FIELDS)
        if "blocks" not in data:
            raise mismatch("spec", "no 'blocks'", "a list of blocks, as in [[1, 64], [2, 128]]")
        blocks = sequence("blocks", data["blocks"], "a list", limits.BLOCKS)
        data["blocks"] = tuple(_block(b, f"blocks[{i}]") for i, b in enumerate(blocks))
        if "input_shape" in data:
            data["input_shape"] = sequence("input_shape", data["input_shape"], "a list", limits.BLOCKS)
        if "head" in data:
            data["head"] = _head(data["head"])
        return Spec(**data)

    def to_json(self) -> str:
        """Return the spec as one line of JSON."""
        import json  # slow to import, and few commands need it

        return json.dumps(self.to_dict())

    @staticmethod
    def from_json(text: str) -> Spec:
        """Return the spec in a JSON text. Raises ``VGGError`` when it holds none."""
        return Spec.from_dict(json_value(text))

    def to_toml(self) -> str:
        """Return the spec as a TOML document."""
        import tomli_w  # a worker has no tomli_w, and needs none

        return tomli_w.dumps(self.to_dict())

    @staticmethod
    def from_toml(text: str) -> Spec:
        """Return the spec in a TOML text. Raises ``VGGError`` when it holds none."""
        return Spec.from_dict(toml_value(text))

    @staticmethod
    def load(path: str | Path) -> Spec:
        """Read the spec in a ``.json`` or ``.toml`` file. Raises ``VGGError`` when that is not possible."""
        from .files import path_of, read_text

        path = path_of("spec", path)
        readers = {".json": Spec.from_json, ".toml": Spec.from_toml}
        if path.suffix.lower() not in readers:
            raise mismatch(str(path), f"a name that ends in {path.suffix!r}", "one that ends in .json or .toml")
        content = read_text(path, "a spec", limits.DOCUMENT)
        try:
            return readers[path.suffix.lower()](content)
        except VGGError as error:
            raise VGGError(f"{one_line(path)}: {error}") from error


FIELDS = {field.name for field in fields(Spec)}
CHANGES = FIELDS - {"blocks", "head", "name"} | {"narrow", "hidden", "dropout", "global_pool"}
"""The arguments of ``Spec.modified``."""


def channels_last(shape: Sequence[int]) -> bool:
    """Return whether ``shape`` looks like (height, width, channels), as TensorFlow has it."""
    return shape[2] in (1, 3, 4) and shape[0] > shape[2]


def _blocks(value: Any) -> tuple[Block, ...]:
    wanted = "a list of Block; Spec.from_blocks takes pairs"
    blocks = sequence("spec.blocks", value, wanted, limits.BLOCKS)
    if not blocks:
        raise mismatch("spec.blocks", "none", "at least one block")
    count = sum(len(instance("spec.blocks", block, Block, wanted).convs) for block in blocks)
    if count > limits.CONVS:
        raise mismatch("spec.blocks", f"{count:,} convolutions", f"at most {limits.CONVS:,}")
    return blocks


def _input_shape(value: Any) -> tuple[int, int, int]:
    shape = sequence("spec.input_shape", value, "[channels, height, width]", limits.BLOCKS)
    if len(shape) != 3:
        raise mismatch("spec.input_shape", list(shape), "[channels, height, width]")
    most = (limits.WIDTH, limits.EXTENT, limits.EXTENT)
    channels, height, width = (integer("spec.input_shape", *pair) for pair in zip(shape, (1, 1, 1), most, strict=True))
    return channels, height, width


def _narrowed(block: Block, ratio: int) -> Block:
    for conv in block.convs:
        if conv.channels % ratio:
            raise mismatch("narrow", ratio, f"a divisor of every channel count, {conv.channels} among them")
    convs = tuple(replace(c, channels=c.channels // ratio) for c in block.convs)
    return replace(block, convs=convs)


_T = TypeVar("_T", bound=Head | Spec)


def _changed(value: _T, **changes: Any) -> _T:
    return replace(value, **{k: v for k, v in changes.items() if v is not None})


def _names(cls: type) -> set[str]:
    return {field.name for field in fields(cls)}


def _head(data: Any) -> Head:
    data = named("head", data, _names(Head))
    if "hidden" in data:
        data["hidden"] = sequence("head.hidden", data["hidden"], "a list", limits.DENSE)
    return Head(**data)


def _block(data: Any, where: str) -> Block:
    if isinstance(data, (list, tuple)):
        return Block.of(data)
    data = named(where, data, _names(Block))
    convs = sequence(f"{where}.convs", data.get("convs", []), "a list", limits.CONVS)
    pool = data.get("pool", True)
    if isinstance(pool, Mapping):
        pool = Pool(**named(f"{where}.pool", pool, _names(Pool)))
    elif isinstance(pool, bool):
        pool = Pool() if pool else None
    else:
        raise mismatch(f"{where}.pool", shown(pool), "a table {kernel, stride}, true or false")
    return Block(tuple(_conv(c, f"{where}.convs[{i}]") for i, c in enumerate(convs)), pool)


def _conv(data: Any, where: str) -> Conv:
    data = named(where, data, _names(Conv))
    if "channels" not in data:
        raise mismatch(where, "no 'channels'", "the number of output channels")
    return Conv(**data)
