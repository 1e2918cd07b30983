"""Whether what a comparison says follows from what stands beside it: a word that its own numbers deny is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from msgspec import Struct

from ..conformance import proof
from ..core import layers
from ..core.comparator import forward_limit, gradient_limit
from ..core.errors import VGGError, mismatch, within
from ..core.params import shapes
from ..core.spec import Spec
from ..core.texts import for_path, one_line
from ..process.documents import DO, converted
from ..process.schema import Summary
from . import directory
from .heads import Options
from .record import digests_of
from .statistics import pairs, statistics

CHANGED = "put it back as it was, or start a new comparison"
ROUNDED = 0.006
"""By how much the errors of single layers, which have three digits, may be off."""
FORWARD = "logits of forward()"


def check_proof(spec: Spec, column: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` when a backend's column is called proven and its numbers are not those of a proof.

    One that is called another network says why.
    """
    if type(column.get("ok", True)) is not bool:
        raise mismatch("ok", one_line(column["ok"]), "true or false", DO)
    if not column.get("ok"):
        if "facts" in column and column.get("ok") is False and not column.get("reason"):
            raise mismatch("ok", "false", "true, or a reason why it is another network", DO)
        return
    if column.get("reason"):
        raise mismatch("reason", one_line(column["reason"]), "none, since ok is true", DO)
    _check_structure(spec, column)
    limits = _limits(spec, column)
    _check_errors("logits_error", "layer_errors", column, limits[0], _layers(spec))
    _check_errors("gradient_error", "parameter_errors", column, limits[1], _learned(spec))


def _check_structure(spec: Spec, column: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` unless the structure is that of the layer table, which a named architecture has at 224 px."""
    shown = proof.book(spec) or spec
    table = layers.expand(shown)
    wanted: dict[str, Any] = {name: len(table) for name in ("layers", "layers_agreeing")}
    wanted |= {"parameters": layers.totals(table).params, "structure_at": list(shown.input_shape)}
    for name, value in wanted.items():  # an earlier version does not say where
        _check_equal(name, column.get(name, value if name == "structure_at" else None), value)
    if "shapes" in column:
        got = column["shapes"] if isinstance(column["shapes"], dict) else {}
        for row in table:
            _check_equal(f"shapes.{row.name}", got.get(row.name), list(row.output_shape))
        _check_equal("shapes", f"{len(got)} layers", f"{len(table)} layers")


def _check_equal(name: str, got: Any, wanted: Any) -> None:
    if got != wanted:
        raise mismatch(name, one_line(got), f"{one_line(wanted)}, since ok is true", DO)


def _limits(spec: Spec, column: Mapping[str, Any]) -> tuple[float, float]:
    """Return the largest limits of activations and of gradients that a proof of ``spec`` may have had.

    Raises ``VGGError`` when the column was proven at other inputs, or with wider limits.
    """
    specs = [one for one in (spec, proof.odd(spec)) if one]
    if "proven_at" in column:
        _check_equal("proven_at", column["proven_at"], [list(one.input_shape) for one in specs])
    forward = max(float(forward_limit(one, "float64")) for one in specs)
    backward = max(float(gradient_limit(one, "float64", proof.BATCH)) for one in specs)
    for name, most in (("layer_limit", forward), ("parameter_limit", backward)):
        if name in column and not _within(column[name], most, least=math.ulp(0)):
            raise mismatch(name, one_line(column[name]), f"at most {most:.1e}", DO)
    return column.get("layer_limit", forward), column.get("parameter_limit", backward)


def _layers(spec: Spec) -> set[str]:
    return {*(row.name for row in layers.expand(spec)), FORWARD}


def _learned(spec: Spec) -> set[str]:
    return {name for name in shapes(spec) if "running_" not in name}


def _check_errors(name: str, details: str, column: Mapping[str, Any], limit: float, wanted: set[str]) -> None:
    """Raise ``VGGError`` unless the worst error is within its limit, and so is that of each of the ``wanted``."""
    if not _within(column.get(name), limit):
        raise mismatch(name, one_line(column.get(name)), f"0 to {limit:.1e}, since ok is true", DO)
    each = column.get(details)
    if each is None:  # of an earlier version
        return
    if not isinstance(each, dict):
        raise mismatch(details, one_line(each), "a table", DO)
    if each.keys() != wanted:
        raise mismatch(details, f"those of {len(each)} names", f"those of the network's {len(wanted)}", DO)
    for part, value in each.items():
        if not _within(value, column[name] * (1 + ROUNDED)):
            raise mismatch(f"{details}.{part}", one_line(value), f"0 to {column[name]:.1e}, the {name}", DO)


def _within(value: Any, most: float, least: float = 0.0) -> bool:
    return type(value) in (int, float) and least <= value <= most


class _Column(Struct):
    runs: dict[str, dict[str, Any]]
    digests: dict[str, dict[str, str]]
    failures: dict[str, str]


class _Compared(Struct):
    seeds: list[int]
    options: Options
    backends: dict[str, _Column]


def check_runs(place: Path, result: Mapping[str, Any]) -> None:
    """Check the comparison at ``place``, unless an earlier version wrote it, which named no runs.

    Raises ``VGGError`` when a column is not that of its first run, when a run directory is there and is not the one
    that was compared, or when means and verdicts on pairs are not those of the runs.
    """
    if not any("runs" in column for column in result["backends"].values()):
        return
    seeds = converted(result, _Compared).seeds
    for name, column in result["backends"].items():
        with within(f"backends.{one_line(name)}"):
            check_seeds(column, seeds)
            if "facts" in column:
                check_first(column, str(seeds[0]))
            for seed, digests in column["digests"].items():
                path = directory.run_path(place, for_path(name), int(seed), seeds)
                if path.is_dir():
                    check_digests(path, digests)
    _check_statistics(result)


def check_seeds(column: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """Raise ``VGGError`` unless a column's runs have digests, are of those ``seeds``, and none of them failed too."""
    runs, known = column["runs"], {*map(str, seeds)}
    for name in ("runs", "digests", "failures"):
        if unknown := sorted({*column[name]} - known):
            raise mismatch(name, f"seed {one_line(unknown[0])}", f"seeds {seeds[0]} to {seeds[-1]}", DO)
    if runs.keys() != column["digests"].keys():
        raise mismatch("digests", listing(column["digests"]), f"{listing(runs)}, the seeds of the runs", DO)
    if both := sorted(runs.keys() & column["failures"].keys()):
        raise mismatch("failures", f"seed {both[0]}", "only seeds whose runs did not finish", DO)


def listing(seeds: Iterable[str]) -> str:
    """Return seeds as text in order."""
    return ", ".join(sorted(seeds, key=lambda seed: (len(seed), seed))) or "none"


def check_first(column: Mapping[str, Any], first: str) -> None:
    """Raise ``VGGError`` unless a column is that of its first run, that of the seed ``first``."""
    summary = column["runs"].get(first, {})
    for name in get_type_hints(Summary):
        if column.get(name) != summary.get(name):
            raise mismatch(name, one_line(column.get(name)), f"{summary.get(name)}, as in the run of seed {first}", DO)


def check_digests(path: Path, digests: Mapping[str, str]) -> None:
    """Raise ``VGGError`` when a file of the run directory ``path`` is not the one of that digest."""
    got = digests_of(path)
    for part, digest in digests.items():
        if got.get(part) != digest:
            raise mismatch(str(path / part), "a file that was changed", "that of the finished run", CHANGED)


def _check_statistics(result: Mapping[str, Any]) -> None:
    columns = result["backends"]
    for name, column in columns.items():
        _check_alike(f"backends.{one_line(name)}.statistics", column.get("statistics"), statistics(column["runs"]))
    runs = {name: columns.get(name, {}).get("runs", {}) for name in result["options"]["backends"]}
    _check_alike("pairs", result.get("pairs"), pairs(runs))


def _check_alike(name: str, got: Any, wanted: Any) -> None:
    """Raise ``VGGError`` unless two values are the same but for the last digits of their numbers."""
    if isinstance(wanted, dict) and isinstance(got, dict) and got.keys() == wanted.keys():
        for key, value in wanted.items():
            _check_alike(f"{name}.{key}", got[key], value)
    elif isinstance(wanted, list) and isinstance(got, list) and len(got) == len(wanted):
        for i, value in enumerate(wanted):
            _check_alike(f"{name}.{i}", got[i], value)
    elif not _same(got, wanted):
        raise VGGError(f"{name}: got {one_line(got)}, wanted {one_line(wanted)}, as its runs say; {DO}")


def _same(got: Any, wanted: Any) -> bool:
    if {type(got), type(wanted)} <= {int, float}:
        return math.isclose(got, wanted, rel_tol=1e-6, abs_tol=1e-12)
    return bool(got == wanted) and type(got) is type(wanted)
