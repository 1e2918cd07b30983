"""The matrix of ``vgg check``: a square per cell, in which what was not judged looks unlike what passed or failed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from ...conformance.tally import cell_text, fact_outcome
from .palette import listed

SIDE, GAP, ACROSS = 9, 3, 14
KINDS = {
    "passed": "passed",
    "failed": "failed",
    "unexpected pass": "failed",
    "known failure": "known",
    "not judged": "unjudged",
    "not claimed": "unclaimed",
    "not declared": "unclaimed",
    "left out": "unclaimed",
}
"""Outcome -> the class of its square."""
LEGEND = (
    ("passed", "passed"),
    ("failed", "failed, or passed although a failure is expected"),
    ("known failure", "a known failure"),
    ("not judged", "not judged: neither pass nor fail"),
    ("not claimed", "not claimed or not declared: the backend refuses it, and nothing was asked"),
)


class Family(NamedTuple):
    """The cells of one check: by backend a square each, and what a screen reader says of them."""

    name: str
    squares: Mapping[str, Markup]
    rows: Sequence[tuple[str, Mapping[str, str], Mapping[str, str]]]


def families(result: Mapping[str, Any]) -> list[Family]:
    """Return the checks of a result of ``vgg check``, each with its cells."""
    backends, groups = list(result["judged"]), dict[str, dict[str, Any]]()
    for name, row in result["checks"].items():
        groups.setdefault(name.split()[0], {})[name] = row
    return [Family(name, _squares(cells, backends), list(_rows(cells, backends))) for name, cells in groups.items()]


def verdict(result: Mapping[str, Any]) -> tuple[str, bool | None, list[str]]:
    """Return a few words about a result of ``vgg check``, whether all is well (None: not all was judged), and why."""
    outcomes = Counter(cell["outcome"] for row in result["checks"].values() for cell in row.values())
    wrong = {name: count for name, count in outcomes.items() if KINDS.get(name) == "failed"}
    unjudged = [name for name, (judged, wanted) in result["judged"].items() if judged < wanted or not judged]
    sentences = [
        f"{name}: {judged:,} of {wanted:,} cells judged." for name, (judged, wanted) in result["judged"].items()
    ]
    if wrong:
        return "Not conformant", False, [f"{sum(wrong.values())} cells failed.", *sentences]
    facts = [_fact(one) for row in result.get("declared", {}).values() for one in row.values()]
    facts = [outcome for outcome in facts if KINDS[outcome] == "failed"]
    if facts:
        return "Not conformant", False, [f"{len(facts)} declared differences are not as declared.", *sentences]
    if unjudged:
        about = f"What was judged holds, but of {listed(unjudged)} not every cell was judged."
        return "Judged in part", None, [about, *sentences]
    return "Conformant", True, sentences


def _fact(fact: Mapping[str, Any]) -> str:
    return fact_outcome(fact["text"], fact["wrong"], known=fact.get("known", False))


def legend() -> Iterator[tuple[Markup, str]]:
    """Yield a square and its meaning."""
    for outcome, words in LEGEND:
        size = f'width="{SIDE}" height="{SIDE}"'
        square = f'<svg class="cells" {size} aria-hidden="true">{_square(outcome, 0)}</svg>'
        yield Markup(square), words  # noqa: S704 - constants


def _squares(cells: Mapping[str, Mapping[str, Any]], backends: Sequence[str]) -> dict[str, Markup]:
    return {
        backend: _drawn([row[backend]["outcome"] for row in cells.values() if backend in row]) for backend in backends
    }


def _drawn(outcomes: Sequence[str]) -> Markup:
    if not outcomes:
        return Markup("\N{EN DASH}")
    down, step = math.ceil(len(outcomes) / ACROSS), SIDE + GAP
    words = escape(", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).items()))
    width, height = min(len(outcomes), ACROSS) * step, down * step
    drawn = "".join(_square(outcome, i) for i, outcome in enumerate(outcomes))
    size = f'width="{width}" height="{height}"'
    return Markup(f'<svg class="cells" role="img" {size}><title>{words}</title>{drawn}</svg>')  # noqa: S704 - escaped


def _square(outcome: str, index: int) -> str:
    x, y = (index % ACROSS) * (SIDE + GAP), (index // ACROSS) * (SIDE + GAP)
    kind = KINDS.get(outcome, "unjudged")
    if kind == "unclaimed":
        return f'<circle class="unclaimed" cx="{x + SIDE / 2}" cy="{y + SIDE / 2}" r="1.3"/>'
    square = f'<rect class="{kind}" x="{x + 0.5}" y="{y + 0.5}" width="{SIDE - 1}" height="{SIDE - 1}"/>'
    cross = f'<path class="cross" d="M{x + 2} {y + 2}l{SIDE - 4} {SIDE - 4}m0-{SIDE - 4}l-{SIDE - 4} {SIDE - 4}"/>'
    return square + (cross if kind == "failed" else "")


def _rows(
    cells: Mapping[str, Mapping[str, Any]], backends: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str], Mapping[str, str]]]:
    """Yield (check, text by backend, class by backend)."""
    for check, row in cells.items():
        texts = {name: cell_text(row.get(name), emphasis=str) for name in backends}
        yield (
            check,
            texts,
            {name: KINDS.get(row[name]["outcome"], "unjudged") if name in row else "" for name in backends},
        )


def reasons(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (check, backend, reason) of the cells that failed or were not judged, at most a hundred."""
    loud = ("failed", "known", "unjudged")
    each = [
        (check, name, str(cell["reason"]))
        for check, row in result["checks"].items()
        for name, cell in row.items()
        if KINDS.get(cell["outcome"], "unjudged") in loud and cell["reason"]
    ]
    return each[:100]
