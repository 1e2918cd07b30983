"""Values from users and files: checked, and turned into plain Python values. NumPy's scalars are welcome.

Each function takes ``what``, which names the value in the message, and raises ``VGGError`` when the value is wrong.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import sys
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, TypeVar

from . import limits
from .errors import ContractError, mismatch, unknown
from .texts import shown

_T = TypeVar("_T")


def integer(what: str, value: Any, low: int, high: int = limits.COUNT) -> int:
    """Return ``value``, an integer from ``low`` to ``high``, as an ``int``."""
    number = _index(value)
    if number is None or number < low:
        raise mismatch(what, shown(value), f"an integer >= {low}")
    if number > high:
        raise mismatch(what, shown(value), f"at most {high:,}")
    return number


def number(what: str, value: Any, wanted: str, fits: Callable[[float], bool] = lambda _: True) -> float:
    """Return ``value``, a finite number that ``fits``, as an ``int`` or a ``float``; ``wanted`` describes it."""
    plain = _plain(value)
    if plain is not None and not math.isfinite(plain):
        raise mismatch(what, shown(value), f"{wanted}, and finite")
    if plain is None or not fits(plain):
        raise mismatch(what, shown(value), wanted)
    return plain


def real(what: str, value: Any) -> float:
    """Return the ``float`` of ``value``, a number of any framework. ``ContractError``, unless it is one.

    ``float()`` alone would read a text, and a boolean, too.
    """
    if not isinstance(value, (str, bytes, bytearray, bool)) and "bool" not in str(getattr(value, "dtype", "")):
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    raise mismatch(what, shown(value), "a real number", kind=ContractError)


def boolean(what: str, value: Any, wanted: str = "true or false") -> bool:
    """Return ``value``, True or False, as a ``bool``."""
    numpy = sys.modules.get("numpy")
    if isinstance(value, bool) or (numpy and isinstance(value, numpy.bool_)):
        return bool(value)
    raise mismatch(what, shown(value), wanted)


def text(what: str, value: Any, most: int = limits.NAME) -> str:
    """Return ``value``, a string of at most ``most`` characters that UTF-8 can hold."""
    if not isinstance(value, str):
        raise mismatch(what, shown(value), "a string")
    if len(value) > most:
        raise mismatch(what, f"{len(value):,} characters", f"at most {most:,}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise mismatch(what, shown(value), "characters that UTF-8 can hold")
    return str(value)


def choice(what: str, value: Any, known: Collection[str]) -> str:
    """Return ``value``, one of the strings ``known``."""
    if not isinstance(value, str) or value not in known:
        raise mismatch(what, shown(value), " or ".join(known))
    return str(value)


def sequence(what: str, value: Any, wanted: str, most: int) -> tuple[Any, ...]:
    """Return the values of ``value``, a list, tuple, array or another ordered collection, at most ``most``."""
    if isinstance(value, (str, bytes, Mapping, AbstractSet)):
        raise mismatch(what, shown(value), wanted)
    try:
        values = tuple(islice(value, most + 1))
    except TypeError:
        raise mismatch(what, shown(value), wanted) from None
    if len(values) > most:
        raise mismatch(what, f"more than {most:,}", f"at most {most:,}")
    return values


def instance(what: str, value: Any, kind: type[_T], wanted: str) -> _T:
    """Return ``value``, which is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise mismatch(what, shown(value), wanted)
    return value


def named(what: str, values: Any, known: Collection[str]) -> dict[str, Any]:
    """Return ``values``, a mapping whose keys are all in ``known``, as a dictionary."""
    if not isinstance(values, Mapping):
        raise mismatch(what, shown(values), "a table of named values")
    for name in values:
        if not isinstance(name, str) or name not in known:
            raise unknown(f"key in {what}", name, known)
    return dict(values)


def _index(value: Any) -> int | None:
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # an array or a tensor of several numbers
        return None


def _plain(value: Any) -> float | None:
    index = _index(value)
    if index is not None:
        return index if index.bit_length() < 1000 else None
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else None
