"""What a checkpoint belongs to: the spec, the recipe and the data of its run; and a checksum of its contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.recipe import Recipe
from ..core.spec import Spec

Arrays = Mapping[str, NDArray[Any]]
FREE = {"spec.name", "recipe.name", "recipe.epochs"}
"""Fields that change no number of the steps that a run has behind it. They may differ."""
MOST = 3
"""The number of differences that an error names."""


def fingerprint(spec: Spec, recipe: Recipe, arrays: Arrays) -> dict[str, str]:
    """Return the metadata that a checkpoint of this run carries: its spec, its recipe, and a digest of its data."""
    return {"spec": spec.to_json(), "recipe": json.dumps(recipe.to_dict()), "data": digest(arrays)}


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and values of ``arrays``, as 64 hexadecimal digits."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(json.dumps([name, array.dtype.str, arrays[name].shape]).encode())
        sha.update(array.data.cast("B") if array.size else b"")
    return sha.hexdigest()


def checksum(arrays: Arrays, about: Mapping[str, str]) -> str:
    """Return the SHA-256 of a checkpoint: of its ``arrays`` and of what its metadata say ``about`` them."""
    return hashlib.sha256(json.dumps([digest(arrays), sorted(about.items())]).encode()).hexdigest()


def differences(got: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return what differs between two fingerprints, as ``field: got X, wanted Y; ...``, or an empty text.

    An earlier version wrote fewer parts; what ``got`` lacks is not compared. Raises ``VGGError`` when a part of ``got``
    is not readable.
    """
    one, two = (dict(_fields(part)) for part in ({n: got[n] for n in wanted if n in got}, wanted))
    parts = {name.partition(".")[0] for name in one}
    names = [n for n in {**two, **one} if n.partition(".")[0] in parts and n not in FREE and one.get(n) != two.get(n)]
    lines = [f"{name}: got {_text(one, name)}, wanted {_text(two, name)}" for name in names]
    more = [f"{len(lines) - MOST} more"] if len(lines) > MOST else []
    return "; ".join(lines[:MOST] + more)


def _text(fields: Mapping[str, Any], name: str) -> str:
    return str(fields.get(name, "nothing"))[:60]


def _fields(parts: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of every field of a fingerprint, with the defaults of fields that it lacks."""
    if "spec" in parts:
        yield from _flat("spec", Spec.from_json(parts["spec"]).to_dict())
    if "recipe" in parts:
        yield from _flat("recipe", Recipe.from_dict(json.loads(parts["recipe"])).to_dict())
    if "data" in parts:
        yield "data", parts["data"][:12]


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values in nested tables and lists, with names such as ``spec.blocks[0].convs[1].channels``."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}", part)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            yield from _flat(f"{name}[{i}]", part)
    else:
        yield name, value
