"""Changes of valid data: of its bytes, or of the values that it holds."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import tomli_w

from . import nasty

AGAIN = "@@again@@"
"""A key with this at its end stands for the key without it, which is then there twice."""
_AGAIN = re.compile(f'"([a-z_]{{1,40}}){AGAIN}"')
_RAW = re.compile(f'"{nasty.RAW}(.*?){nasty.RAW}"', re.DOTALL)
Spot = tuple[Any, Any]
"""(container, key or index) of a value."""


def bytewise(random: Random, data: bytes) -> bytes:
    """Return ``data`` with a few changes that know nothing of its format."""
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        data = random.choice(BYTEWISE)(random, data)
    return data


def noise(random: Random, data: bytes) -> bytes:
    """Return random bytes, perhaps behind the beginning of a file of another kind."""
    return random.choice((b"", *nasty.PREFIXES)) + random.randbytes(random.choice((0, 1, 7, 64, 1000, 20_000)))


def _flip(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) or 1)
    return data[:place] + bytes(b ^ 1 << random.randrange(8) for b in data[place : place + 1]) + data[place + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _drop(random: Random, data: bytes) -> bytes:
    low, high = _span(random, data)
    return data[:low] + data[high:]


def _double(random: Random, data: bytes) -> bytes:
    low, high = _span(random, data)
    return data[:high] + data[low:high] * random.choice((1, 1, 2, 50)) + data[high:]


def _insert(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    text = random.choice((*nasty.TEXTS, *nasty.TOKENS)).encode(errors="surrogatepass")
    return data[:place] + random.choice((text, random.randbytes(4), b"\0", b"\xff")) + data[place:]


def _recode(random: Random, data: bytes) -> bytes:
    text = data.decode(errors="replace")
    return text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037", "latin-1")), errors="replace")


def _lines(random: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case 2:
            lines.insert(one, random.choice((b"\n", b"\r", b" \n", b"{}\n", b"null\n", b"[]\n", b"\0\n")))
        case 3:
            del lines[one]
    return b"".join(lines)


def _span(random: Random, data: bytes) -> tuple[int, int]:
    low = random.randrange(len(data) + 1)
    return low, min(len(data), low + random.choice((1, 2, 8, 64, 1000)))


BYTEWISE: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _flip, _cut, _drop, _double, _insert, _recode, _lines)


def treewise(random: Random, tree: Any) -> Any:
    """Return a copy of ``tree``, which JSON can express, with a few values or keys changed."""
    box = [copy.deepcopy(tree)]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        container, key = random.choice(list(spots(box)))
        random.choice(TREEWISE)(random, container, key, box)
    return box[0]


def spots(container: Any) -> Iterator[Spot]:
    """Yield where every value below ``container`` is."""
    for key in list(container) if isinstance(container, dict) else range(len(container)):
        yield container, key
        if isinstance(container[key], (dict, list)):
            yield from spots(container[key])


def _replace(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    container[key] = nasty.value(random)


def _borrow(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    other, place = random.choice(list(spots(box)))
    container[key] = copy.deepcopy(other[place])


def _retype(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    old = container[key]
    number = old if isinstance(old, (int, float)) else 1
    container[key] = random.choice((str(old), [old], {"value": old}, -number, number * 1000, number + 0.5, number + 1))


def _rename(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    if isinstance(container, dict):
        container[random.choice((*nasty.TEXTS, f"{key}s"))] = container.pop(key)
    else:
        container[key] = {random.choice(nasty.TEXTS): container[key]}


def _repeat(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    if isinstance(container, dict):
        container[key + AGAIN] = random.choice((nasty.value(random), container[key]))
    elif container is not box:
        container[key:key] = [copy.deepcopy(container[key]) for _ in range(random.choice((1, 3, 200)))]


def _remove(random: Random, container: Any, key: Any, box: list[Any]) -> None:
    if container is not box:
        del container[key]


TREEWISE: tuple[Callable[[Random, Any, Any, list[Any]], None], ...] = (
    *(_replace, _replace, _borrow, _retype, _rename, _repeat, _remove),
)


def to_json(tree: Any, indent: int | None = None) -> bytes:
    """Return ``tree`` as JSON, with the raw texts and the repeated keys that it stands for."""
    return _RAW.sub(lambda raw: json.loads(f'"{raw[1]}"'), json.dumps(tree, indent=indent)).replace(AGAIN, "").encode()


def to_toml(tree: Any) -> bytes:
    """Return ``tree`` as TOML, or as JSON where TOML cannot express it."""
    try:
        text = tomli_w.dumps(tree)
    except (TypeError, ValueError, AttributeError):
        return to_json(tree)
    text = _AGAIN.sub(r"\1", text)
    return _RAW.sub(lambda raw: raw[1].replace('\\"', '"'), text).encode(errors="surrogatepass")
