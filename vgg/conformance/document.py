"""The file of ``vgg check --json``: its words are judged again from its cells, and what denies itself is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from ..core.errors import mismatch, within
from ..core.texts import one_line
from ..process.documents import DO, Origin, check_numbers, converted
from ..process.schema import Count, Seconds
from .tally import JUDGED, LEFT, NOT_ASKED, WRONG, fact_outcome

EXCUSED = "not judged, which is known"
OUTCOMES = (*JUDGED, *NOT_ASKED, *LEFT)
Error = Annotated[float, Meta(ge=0)]


class _Cell(Struct):
    outcome: str
    error: Error | None
    limit: Error | None
    reason: str
    known: bool = False


class _Fact(Struct):
    text: str
    wrong: str
    size: Error | None = None
    known: bool = False


class _Result(Origin, kw_only=True):
    ok: bool
    frameworks: dict[str, str]
    judged: dict[str, tuple[Count, Count]]
    checks: dict[str, dict[str, Any]]
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, Seconds] = field(default_factory=dict)


def checked(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result of ``vgg check`` that was read from ``path``.

    Raises ``VGGError``, which names the file and the field, when it is none, or when its counts, outcomes and ``ok`` do
    not follow from its cells.
    """
    with within(path):
        _check_keys(result)
        check_numbers(result)
        contents = converted(result, _Result)
        cells = list(_outcomes(contents))
        outcomes = {
            name: Counter(outcome for _, backend, outcome in cells if backend == name) for name in contents.judged
        }
        for where, backend, _ in cells:
            if backend not in outcomes:
                raise mismatch(where, f"a cell of {one_line(backend)}", "one of a backend in judged", DO)
        for name, counts in contents.judged.items():
            _check_counts(f"judged.{one_line(name)}", counts, outcomes[name])
        _check_ok(contents, outcomes)
    return result


def _check_keys(result: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` for a result of an earlier version, and for one of no backend."""
    if not result.get("judged"):
        do = "make it again with this version's vgg check --json"
        raise mismatch("judged", one_line(result.get("judged", "nothing")), "the counts of one or more backends", do)


def _outcomes(contents: _Result) -> Iterator[tuple[str, str, str]]:
    """Yield (field, backend, outcome) of every cell and every fact; what is known not to be judged is ``EXCUSED``."""
    for check, row in contents.checks.items():
        for backend, value in row.items():
            where = f"checks.{one_line(check)}.{one_line(backend)}"
            cell = converted(value, _Cell, where)
            _check_cell(where, cell)
            yield where, backend, EXCUSED if cell.known and cell.outcome == "not judged" else cell.outcome
    for name, row in contents.declared.items():
        for backend, value in row.items():
            where = f"declared.{one_line(name)}.{one_line(backend)}"
            fact = converted(value, _Fact, where)
            yield where, backend, fact_outcome(fact.text, fact.wrong, known=fact.known)


def _check_cell(where: str, cell: _Cell) -> None:
    """Raise ``VGGError`` when an outcome is none, or is a pass that the cell's numbers or its reason deny."""
    if cell.outcome not in OUTCOMES:
        raise mismatch(f"{where}.outcome", cell.outcome, ", ".join(OUTCOMES), DO)
    if cell.outcome not in ("passed", "unexpected pass"):
        return
    if cell.limit is None:
        raise mismatch(f"{where}.limit", "nothing", f"a number, since the cell {cell.outcome}", DO)
    if cell.error is None or cell.error > cell.limit:
        raise mismatch(f"{where}.error", cell.error, f"0 to {cell.limit:.1e}, since the cell {cell.outcome}", DO)
    if cell.reason:
        raise mismatch(f"{where}.reason", cell.reason, f"none, since the cell {cell.outcome}", DO)


def _check_counts(where: str, counts: tuple[int, int], outcomes: Counter[str]) -> None:
    """Raise ``VGGError`` unless as many cells were judged as there are, and as many asked for; ``-k`` leaves some out.

    Facts that could not be measured are asked for too, and have no cell.
    """
    judged, asked = (sum(outcomes[name] for name in names) for names in (JUDGED, (*JUDGED, *LEFT, EXCUSED)))
    if counts[0] != judged:
        raise mismatch(where, f"{counts[0]} judged", f"{judged}, as many as its cells and facts say", DO)
    if counts[1] < asked:
        raise mismatch(where, f"{counts[1]} in all", f"at least {asked}, its cells and facts", DO)


def _check_ok(contents: _Result, outcomes: Mapping[str, Counter[str]]) -> None:
    """Raise ``VGGError`` when ``ok`` is not what the cells and the counts say."""
    wrong = [name for name, counts in outcomes.items() if any(counts[outcome] for outcome in WRONG)]
    lost = [name for name, counts in outcomes.items() if counts["not judged"] or not contents.judged[name][0]]
    whole = all(judged == total for judged, total in contents.judged.values())
    if contents.ok and (wrong or lost):
        why = f"{wrong[0]} failed in a cell" if wrong else f"{lost[0]} was not judged in a cell"
        raise mismatch("ok", "true", f"false, since {one_line(why)}", DO)
    if not contents.ok and whole and not (wrong or lost):
        raise mismatch("ok", "false", "true, since every cell was judged and none failed", DO)
