"""The spec: one frozen description of a VGG-like network that depends on no framework.

A network is a sequence of blocks (convolutions, each followed by ReLU, then a max-pool) and a head of dense
layers. All of Table 1 of Simonyan & Zisserman (2015, arXiv:1409.1556), their batch-norm variants, the narrow nets of
the textbook chapters and AlexNet are values of the same type, ``Spec``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from .blocks import Block, Conv, Head, Pool, at_least
from .errors import VGGError, mismatch, unknown

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
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        if not self.blocks:
            raise mismatch("spec.blocks", "none", "at least one block")
        if len(self.input_shape) != 3:
            raise mismatch("spec.input_shape", list(self.input_shape), "[channels, height, width]")
        for extent in self.input_shape:
            at_least("spec.input_shape", extent, 1)
        at_least("spec.classes", self.classes, 1)
        if not isinstance(self.batch_norm, bool):
            raise mismatch("spec.batch_norm", repr(self.batch_norm), "true or false")
        if not isinstance(self.name, str):
            raise mismatch("spec.name", repr(self.name), "a string")
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
        """Return the spec of blocks in the chapters' notation: ``((1, 64), (1, 128), (2, 256), ...)``.

        A pair is (number of 3x3 convolutions, channels). ``narrow`` divides all channels; ``fields`` are the other
        fields of ``Spec``. Raises ``VGGError`` when these do not describe a network.
        """
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
        at_least("narrow", narrow, 1)
        head = _changed(
            self.head, hidden=None if hidden is None else tuple(hidden), dropout=dropout, global_pool=global_pool
        )
        changes = {"classes": classes, "batch_norm": batch_norm, "head": head}
        blocks = tuple(_narrowed(block, narrow) for block in self.blocks)
        shape = None if input_shape is None else tuple(input_shape)
        return _changed(self, blocks=blocks, input_shape=shape, **changes)

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
        data = _known(Spec, data, "spec")
        if "blocks" not in data:
            raise mismatch("spec", "no 'blocks'", "a list of blocks, as in [[1, 64], [2, 128]]")
        data["blocks"] = tuple(_block(b, f"blocks[{i}]") for i, b in enumerate(_list(data["blocks"], "blocks")))
        if "input_shape" in data:
            data["input_shape"] = tuple(_list(data["input_shape"], "input_shape"))
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
        import json

        return Spec.from_dict(_parsed(json.loads, text, "JSON"))

    def to_toml(self) -> str:
        """Return the spec as a TOML document."""
        import tomli_w  # a worker has no tomli_w, and needs none

        return tomli_w.dumps(self.to_dict())

    @staticmethod
    def from_toml(text: str) -> Spec:
        """Return the spec in a TOML text. Raises ``VGGError`` when it holds none."""
        import tomllib

        return Spec.from_dict(_parsed(tomllib.loads, text, "TOML"))

    @staticmethod
    def load(path: str | Path) -> Spec:
        """Read the spec in a ``.json`` or ``.toml`` file. Raises ``VGGError`` when that is not possible."""
        from pathlib import Path

        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise VGGError(f"{path}: cannot be read as a spec ({error})") from error
        try:
            return Spec.from_toml(text) if path.suffix == ".toml" else Spec.from_json(text)
        except VGGError as error:
            raise VGGError(f"{path}: {error}") from error


def _narrowed(block: Block, ratio: int) -> Block:
    for conv in block.convs:
        if conv.channels % ratio:
            raise mismatch("narrow", ratio, f"a divisor of every channel count, {conv.channels} among them")
    convs = tuple(replace(c, channels=c.channels // ratio) for c in block.convs)
    return replace(block, convs=convs)


_T = TypeVar("_T", bound=Head | Spec)


def _changed(value: _T, **changes: Any) -> _T:
    return replace(value, **{k: v for k, v in changes.items() if v is not None})


def _parsed(parse: Callable[[str], Any], text: str, form: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise VGGError(f"not {form}: {error}") from error


def _known(cls: type, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise mismatch(where, repr(data), "a table of named values")
    names = {f.name for f in fields(cls)}
    for key in data:
        if key not in names:
            raise unknown(f"key in {where}", str(key), names)
    return dict(data)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise mismatch(where, repr(value), "a list")
    return list(value)


def _head(data: Any) -> Head:
    data = _known(Head, data, "head")
    if "hidden" in data:
        data["hidden"] = tuple(_list(data["hidden"], "head.hidden"))
    return Head(**data)


def _block(data: Any, where: str) -> Block:
    if isinstance(data, (list, tuple)):
        return Block.of(data)
    data = _known(Block, data, where)
    convs = _list(data.get("convs", []), f"{where}.convs")
    pool = data.get("pool", True)
    if isinstance(pool, Mapping):
        pool = Pool(**_known(Pool, pool, f"{where}.pool"))
    elif isinstance(pool, bool):
        pool = Pool() if pool else None
    else:
        raise mismatch(f"{where}.pool", repr(pool), "a table {kernel, stride}, true or false")
    return Block(tuple(_conv(c, f"{where}.convs[{i}]") for i, c in enumerate(convs)), pool)


def _conv(data: Any, where: str) -> Conv:
    data = _known(Conv, data, where)
    if "channels" not in data:
        raise mismatch(where, "no 'channels'", "the number of output channels")
    return Conv(**data)
