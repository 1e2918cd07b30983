"""Results in files, of this machine or another: what is not as vgg wrote it is named with its field.

Like ``schema`` it belongs to the parent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from ..core.errors import VGGError, mismatch
from ..core.spec import Spec
from ..core.texts import cut, one_line, shown
from .schema import Count

DO = "put the file back as vgg wrote it, or make it again"
LARGEST = 1 << 64
"""Integers of a document are smaller than this."""
_NAMES = {
    "object": "a table",
    "array": "a list",
    "str": "a text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
}


class Machine(Struct):
    """The machine that a result comes from."""

    system: str
    cpu: str
    cores: Count
    gpus: list[str] = field(default_factory=list)


class Origin(Struct):
    """What every result says of where it comes from."""

    date: str
    vgg: str
    machine: Machine
    commit: str | None = None


def converted(value: Any, kind: Any, where: str = "") -> Any:
    """Return ``value`` as ``kind``, a type of msgspec. ``where`` is the field that holds it, or empty for the whole.

    Raises ``VGGError``, which names the field, when it is of another type. The values of a table are best converted one
    by one, because msgspec does not name the keys of tables.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise _mistyped(value, where, text, path.rstrip("`")) from error


def _mistyped(value: Any, where: str, text: str, path: str) -> VGGError:
    """Return the error for what msgspec says in ``text`` of the part of ``value`` at ``path``, such as ``.a.b[0]``."""
    missing = re.fullmatch(r"Object missing required field `(.+)`", text)
    names = [*re.findall(r"[^.\[\]]+", path), *(missing.groups() if missing else ())]
    name = ".".join([*([where] if where else []), *names]) or "the whole"
    if missing:
        return mismatch(name, "nothing", "what vgg writes there", DO)
    for part in names:
        value = value[int(part)] if isinstance(value, list) else value.get(part) if isinstance(value, dict) else value
    expected = re.fullmatch(r"Expected `([^`]+)`(.*?)(?:, got .*)?", text)
    wanted = _in_words(expected[1]) + expected[2] if expected else "what vgg writes there"
    return mismatch(name, cut(shown(value), 100), wanted, DO)


def _in_words(kind: str) -> str:
    return " or ".join(_NAMES.get(name, name) for name in kind.split(" | "))


def read_spec(value: Any, where: str) -> Spec:
    """Return the network that ``value`` is. Raises ``VGGError``, which names the field ``where``, when it is none."""
    try:
        return Spec.from_dict(value)
    except VGGError as error:
        raise VGGError(f"{where}: {error}; {DO}") from error


def check_numbers(value: Any) -> None:
    """Raise ``VGGError``, which names the field, for a number that no result has: NaN, infinite or of too many bits."""
    for path, number in _numbers(value):
        if isinstance(number, float) and not math.isfinite(number):
            raise mismatch(path, number, "finite numbers", DO)
        if isinstance(number, int) and abs(number) >= LARGEST:
            raise mismatch(path, number, "an integer of at most 64 bits", DO)


def _numbers(value: Any) -> Iterator[tuple[str, float]]:
    """Yield (path, number) of all numbers in ``value``, which may be deeper than Python calls can be."""
    parts: list[tuple[str, Any]] = [("", value)]
    while parts:
        path, part = parts.pop()
        if isinstance(part, (int, float)):
            yield path, part
        items = part.items() if isinstance(part, Mapping) else enumerate(part) if isinstance(part, list) else ()
        parts += [(f"{path}.{one_line(name, 100)}" if path else one_line(name, 100), item) for name, item in items]
