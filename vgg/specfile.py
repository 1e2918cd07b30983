"""Specs as dictionaries, JSON and TOML: what ``Spec.to_json`` and its kin do, kept apart from what a spec is."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import VGGError, mismatch, unknown
from .spec import Block, Conv, Head, Pool, Spec


def to_dict(spec: Spec) -> dict[str, Any]:
    """Plain lists, numbers and strings. ``pool`` is false where a block has none (TOML knows no null)."""
    data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    for block in data["blocks"]:
        block["pool"] = block["pool"] or False
    order = ("name", "input_shape", "classes", "batch_norm", "blocks", "head")
    return {key: data[key] for key in order}


def from_dict(data: Mapping[str, Any]) -> Spec:
    """The spec that ``to_dict`` described; a block may also be a pair ``[convolutions, channels]``."""
    data = _known(Spec, data, "spec")
    if "blocks" not in data:
        raise mismatch("spec", "no 'blocks'", "a list of blocks, as in [[1, 64], [2, 128]]")
    data["blocks"] = tuple(_block(b, f"blocks[{i}]") for i, b in enumerate(_list(data["blocks"], "blocks")))
    if "input_shape" in data:
        data["input_shape"] = tuple(_list(data["input_shape"], "input_shape"))
    if "head" in data:
        data["head"] = _head(data["head"])
    return Spec(**data)


def from_json(text: str) -> Spec:
    """The spec in a JSON text; ``VGGError`` where it is not one."""
    return from_dict(_parsed(json.loads, text, "JSON"))


def from_toml(text: str) -> Spec:
    """The spec in a TOML text; ``VGGError`` where it is not one."""
    return from_dict(_parsed(tomllib.loads, text, "TOML"))


def load(path: str | Path) -> Spec:
    """The spec in a ``.json`` or ``.toml`` file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VGGError(f"{path}: cannot be read as a spec ({error})") from error
    try:
        return from_toml(text) if path.suffix == ".toml" else from_json(text)
    except VGGError as error:
        raise VGGError(f"{path}: {error}") from error


def _parsed(parse: Callable[[str], Any], text: str, form: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise VGGError(f"not {form}: {error}") from error


def _known(cls: type, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise mismatch(where, repr(data), "a table of named values")
    names = {f.name for f in dataclasses.fields(cls)}
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
