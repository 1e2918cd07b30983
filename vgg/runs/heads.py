"""The heads of ``compare.json`` and ``run.json``: all that a page shows of them besides the columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from ..core import limits
from ..core.errors import VGGError, mismatch, within
from ..core.recipe import FIELDS, Recipe
from ..core.spec import Spec
from ..process.documents import DO, Origin, check_numbers, converted, read_spec
from ..process.schema import Count

Interval = Annotated[list[float], Meta(min_length=2, max_length=2)]


class _Head(Origin, kw_only=True):
    spec: dict[str, Any]
    recipe: dict[str, Any]


class Options(Struct):
    """What a comparison was asked for: the names of its backends."""

    backends: list[str]


class _Pair(Struct):
    backends: Annotated[list[str], Meta(min_length=2, max_length=2)]
    quantity: str
    count: Count
    word: str
    difference: float | None
    interval: Interval | None
    visible: float | None


class _Comparison(_Head, kw_only=True):
    ok: bool
    backends: dict[str, Any]
    seeds: Annotated[list[Count], Meta(max_length=limits.SEEDS)] = field(default_factory=list)
    options: Options | None = None
    pairs: list[_Pair] = field(default_factory=list)


def check_head(file: Path, result: Mapping[str, Any], *, several: bool) -> Spec:
    """Return the network that a result is of: ``compare.json``'s if ``several``, else ``run.json``'s.

    Raises ``VGGError``, which names the field, unless the result says where it comes from and what it is of.
    """
    with within(file):
        check_numbers(result)
        head = converted(result, _Comparison if several else _Head)
        spec = read_spec(head.spec, "spec")
        _check_recipe(head.recipe)
        if several and not head.seeds and (head.options or head.pairs):
            raise mismatch("seeds", "none", "the seeds of the runs", DO)
        return spec


def _check_recipe(recipe: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` when a field of this version's recipes has no value of theirs; others may have more fields."""
    try:
        Recipe.from_dict({name: value for name, value in recipe.items() if name in FIELDS})
    except VGGError as error:
        raise VGGError(f"{error}; {DO}") from error
