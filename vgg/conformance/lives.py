"""Run a learner's life with a backend and with the oracle: after every action the two must agree.

A trajectory is a straight line. Lives do what people do: evaluate in between, use batches of many sizes, pixels and
floats, go back to an earlier state, use two learners at once, start a new recipe on the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import Phase

from ..core.comparator import Verdict
from ..process.client import Jobs
from .cell import Cell
from .life import Life, script
from .life_examples import FIXED
from .life_shrinking import shortest
from .life_strategies import random_lives
from .life_walk import PartedError, Walk
from .properties import drawn

EXAMPLES = 2
"""The default number of random lives per precision, besides the fixed ones; Hypothesis begins with the simplest one."""
THOROUGH = 50
"""The factor by which ``--thorough`` raises the number of random lives."""


def cells(examples: int = EXAMPLES, seed: int | None = None) -> Iterator[tuple[str, Cell]]:
    """Yield the cells of this module; another ``seed`` draws other random lives."""
    for dtype in ("float64", "float32"):
        yield f"life {dtype}", _cell(dtype, examples, seed)
        yield f"life thorough {dtype}", _cell(dtype, THOROUGH * examples, seed, thorough=True)


def _cell(dtype: str, examples: int, seed: int | None, *, thorough: bool = False) -> Cell:
    return Cell(lambda bench: lives(bench.worker, dtype, examples, seed), "training", (dtype,), thorough)


def lives(worker: Callable[[], Jobs], dtype: str, examples: int = EXAMPLES, seed: int | None = None) -> Verdict:
    """Judge the fixed lives and ``examples`` random ones in that dtype.

    Without a ``seed`` they are the same in every run of an installation. A life that fails is shrunk and shown as a
    program that replays it. ``worker`` is called for each life, because a life may kill its worker.
    """
    walks: list[Walk] = []

    def live(life: Life) -> None:
        walks.append(Walk(worker(), life))
        walks[-1].to_its_end()
        if not walks[-1].verdict.ok:
            raise PartedError

    try:
        for life in FIXED[dtype]:
            live(life)
        if examples:
            drawn(live, random_lives(dtype), examples, seed, phases=[Phase.generate])
    except Exception:
        if not walks or walks[-1].verdict.ok:
            raise
        return _reported(worker, walks[-1])
    worst = max((walk.verdict for walk in walks), key=lambda one: one.share)
    steps, judged = (sum(getattr(walk, name) for walk in walks) for name in ("steps", "judged"))
    return Verdict(worst.error, worst.limit, f"{len(walks)} lives, {judged} of {steps} steps judged")


def replay(worker: Jobs, life: Life) -> Verdict:
    """Run one life; return the verdict with its worst error, or with the first that is over the limit."""
    walk = Walk(worker, life)
    walk.to_its_end()
    return walk.verdict


def _reported(worker: Callable[[], Jobs], walk: Walk) -> Verdict:
    """Return the failure of the shortest life that shows it, with the program."""
    last = walk

    def fails(life: Life) -> int:
        nonlocal last
        if not getattr(last.worker, "alive", True):  # after more deaths the backend would be given up
            return 0
        shorter = Walk(worker(), life)
        shorter.to_its_end()
        last = last if shorter.verdict.ok else shorter
        return 0 if shorter.verdict.ok else shorter.lived

    shortest(fails, walk.life, walk.lived)
    verdict, life = last.verdict, last.life
    summary = f"action {last.lived} of {len(life.actions)}: {verdict.reason}"
    hint = "the shortest life that was seen to fail; save it as life.py, then run python life.py NAME"
    text = f"{summary}\n{hint}\n\n{script(life)}"
    return Verdict(verdict.error, verdict.limit, verdict.where, text)
