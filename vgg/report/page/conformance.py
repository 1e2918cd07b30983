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
        square = f'<svg class="cells" {size} aria-hidden="true">{_shapes([outcome])}</svg>'
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
    size = f'width="{width}" height="{height}"'
    svg = f'<svg class="cells" role="img" {size}><title>{words}</title>{_shapes(outcomes)}</svg>'
    return Markup(svg)  # noqa: S704 - escaped


def _shapes(outcomes: Sequence[str]) -> str:
    """Return one path per class of outcomes, since an element per cell would be half of the page."""
    paths: dict[str, str] = {}
    for index, outcome in enumerate(outcomes):
        x, y = (index % ACROSS) * (SIDE + GAP), (index // ACROSS) * (SIDE + GAP)
        for kind, shape in _shape(KINDS.get(outcome, "unjudged")).items():
            paths[kind] = paths.get(kind, "") + f"M{x} {y}{shape}"
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths.items())


def _shape(kind: str) -> dict[str, str]:
    """Return what is drawn for a cell, from its upper left corner: path by class."""
    side, cross = SIDE - 1, SIDE - 4
    if kind == "unclaimed":
        return {kind: f"m{SIDE / 2 - 1.3} {SIDE / 2}a1.3 1.3 0 1 0 2.6 0a1.3 1.3 0 1 0-2.6 0z"}
    square = {kind: f"m.5.5h{side}v{side}h-{side}z"}
    return square | ({"cross": f"m2 2l{cross} {cross}m0-{cross}l-{cross} {cross}"} if kind == "failed" else {})


def _rows(
    cells: Mapping[str, Mapping[str, Any]], backends: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, str], Mapping[str, str]]]:
    """Yield (check, text by backend, class by backend)."""
    for check, row in cells.items():
        texts = {name: cell_text(row.get(name), emphasis=str) for name in backends}
        yield (
            check,
            texts,
            {name: _marked(row[name]["outcome"]) if name in row else "" for name in backends},
        )


def _marked(outcome: str) -> str:
    """Return the class of a cell's text: none for what passed, which most cells did."""
    kind = KINDS.get(outcome, "unjudged")
    return "" if kind == "passed" else kind


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
