"""Which cells were to be judged, their outcomes, and the exit status that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .declared import Fact

JUDGED = ("passed", "failed", "known failure", "unexpected pass")
WRONG = ("failed", "unexpected pass")
LOUD = (*WRONG, "known failure", "not judged")
"""The outcomes that tables print so that nobody overlooks them."""
FACT = "declared "
NOT_DECLARED = "not declared"
"""The outcome for a precision that a backend does not declare and rightly refused; nothing more is asked of it."""
NOT_CLAIMED = "not claimed"
"""The outcome for what a backend does not claim."""
NOT_ASKED = (NOT_DECLARED, NOT_CLAIMED)
LEFT = ("not judged", "left out")
"""The outcomes of what was asked for and not judged."""
UNFINISHED = "did not run to its end"
DONE, FAILED, NOTHING = 0, 1, 2
"""Exit statuses: everything passed; something failed or was not judged; nothing was judged for some backend."""
Row = TypeVar("Row")


def cell_text(cell: Mapping[str, Any] | None, emphasis: Callable[[str], str] = str.upper) -> str:
    """Return the error and limit of a cell that passed, or its outcome, with ``emphasis`` if it is loud."""
    if cell is None:
        return "-"
    outcome = str(cell["outcome"])
    if outcome != "passed":
        return emphasis(outcome) if outcome in LOUD else outcome
    return f"{cell['error']:.0e} / {cell['limit']:.0e}" if cell["limit"] else "exact"


def fact_outcome(text: str, wrong: str, *, known: bool) -> str:
    """Return the outcome of a declared difference in the words of the matrix."""
    if text == NOT_CLAIMED:
        return NOT_CLAIMED
    if wrong:
        return "known failure" if known else "failed"
    return "unexpected pass" if known else "passed"


@dataclass
class Tally:
    """Every cell of the suite by backend and name, and its outcome.

    ``needs``: the level and dtypes that a backend must claim, by cell and fact, in the suite's order.
    ``claims``: the level and dtypes that each backend claims, once it has started.
    ``left_out``: (backend, cell) of those that were deselected, for example by ``-k``.
    ``begun``: whether any cells were collected.
    """

    backends: list[str] = field(default_factory=list)
    needs: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    claims: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    cells: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Fact]] = field(default_factory=dict)
    left_out: set[tuple[str, str]] = field(default_factory=set)
    begun: bool = False

    def unclaimed(self, backend: str, check: str) -> str:
        """Return why the backend's own claim excludes a cell; an empty text if it does not."""
        from ..backends import LEVELS

        if backend not in self.claims or check not in self.needs:
            return ""
        (level, dtypes), (needed, needed_dtypes) = self.claims[backend], self.needs[check]
        if LEVELS.index(needed) > LEVELS.index(level):
            return f"not claimed: {needed}"
        others = [dtype for dtype in needed_dtypes if dtype not in dtypes]
        return f"not claimed: {', '.join(others)}" if others else ""

    def leave(self, check: str, backend: str, reason: str, outcome: str = "not judged", *, known: bool = False) -> None:
        """Enter a cell that was not judged: it neither passed nor failed."""
        cell = {
            "outcome": outcome,
            **dict.fromkeys(("error", "limit", "limit_ulp")),
            "basis": "",
            "where": "",
            "reason": reason,
        }
        self.cells.setdefault(check, {})[backend] = {**cell, **({"known": True} if known else {})}

    def outcome(self, backend: str, check: str) -> str:
        """Return the outcome of a cell or a fact.

        It is one of ``JUDGED``, ``not claimed``, ``not declared``, ``left out`` or ``not judged``.
        """
        if check.startswith(FACT) and backend in (row := self.facts.get(check.removeprefix(FACT), {})):
            return row[backend].outcome
        if backend in (cells := self.cells.get(check, {})):
            changed = cells[backend]["outcome"] == "not claimed" and not self.unclaimed(backend, check)
            return "not judged" if changed else str(cells[backend]["outcome"])
        if (backend, check) in self.left_out:
            return "left out"
        return "not claimed" if self.unclaimed(backend, check) else "not judged"

    def judged(self, backend: str) -> tuple[int, int]:
        """Return how many cells and facts were judged, and how many the backend claims and declares."""
        outcomes = [self.outcome(backend, check) for check in self.needs if not self.unclaimed(backend, check)]
        asked = [outcome for outcome in outcomes if outcome != NOT_DECLARED]
        return sum(outcome in JUDGED for outcome in asked), len(asked)

    def complete(self) -> None:
        """Enter as not judged every cell that was asked for and did not end."""
        for backend in self.backends if self.begun else ():
            for check in self.needs:
                absent = check not in self.cells or backend not in self.cells[check]
                if absent and not check.startswith(FACT) and self.outcome(backend, check) == "not judged":
                    self.leave(check, backend, UNFINISHED)

    def unjudged(self) -> Iterator[str]:
        """Yield a line with the reason for each cell that was not judged."""
        for backend in self.backends if self.begun else ():
            lost = [check for check in self.needs if self.outcome(backend, check) == "not judged"]
            reasons = {check: self.cells.get(check, {}).get(backend, {"reason": UNFINISHED}) for check in lost}
            unfinished = [check for check, cell in reasons.items() if cell["reason"] == UNFINISHED]
            for check in [check for check in lost if check not in unfinished]:
                known = ", which is known" if "known" in reasons[check] else ""
                yield f"{check}: {backend} was not judged: {reasons[check]['reason']}{known}"
            if unfinished:
                more = ", ..." if len(unfinished) > 3 else ""
                yield f"{backend}: {len(unfinished)} {UNFINISHED}: {', '.join(unfinished[:3])}{more}"

    def status(self) -> int:
        """Return the exit status: ``DONE``, ``FAILED`` or ``NOTHING``."""
        outcomes = {(b, check): self.outcome(b, check) for b in self.backends for check in self.needs}
        if any(outcome in WRONG for outcome in outcomes.values()):
            return FAILED
        if not self.backends or not all(self.judged(backend)[0] for backend in self.backends):
            return NOTHING
        lost = [cell for cell, outcome in outcomes.items() if outcome == "not judged" and not self._known(*cell)]
        return FAILED if lost else DONE

    def lines(self) -> Iterator[str]:
        """Yield a line for each backend: what it claims, and how much of that was judged."""
        for backend in self.backends:
            level, dtypes = self.claims.get(backend, ("training", ["float64", "float32"]))
            partial = level != "training" or len(dtypes) == 1
            claim = f"{', '.join([level, *dtypes])}: " if partial else ""
            count, total = self.judged(backend)
            yield f"{backend}: {claim}judged {count} of {total}"

    def ordered(self, rows: Mapping[str, Row], prefix: str = "") -> Iterator[tuple[str, Row]]:
        """Yield the rows in the suite's order, whatever process they came from."""
        order = {check: i for i, check in enumerate(self.needs)}
        yield from sorted(rows.items(), key=lambda row: order.get(prefix + row[0], len(order)))

    def _known(self, backend: str, check: str) -> bool:
        return "known" in self.cells.get(check, {}).get(backend, {})
