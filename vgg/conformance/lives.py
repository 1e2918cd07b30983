"""A learner's life, lived by a backend and by the oracle: after every action the two must agree.

A trajectory is a straight line. Lives are what people do: evaluate in between, batches of many sizes, pixels and
floats, go back to an earlier state, two learners alive at once, a new recipe on the same model.
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
"""Random lives per precision, unless told otherwise, beside the fixed ones; Hypothesis begins with the simplest one."""
THOROUGH = 50
"""How often as many under ``--thorough``."""


def cells(examples: int = EXAMPLES, seed: int | None = None) -> Iterator[tuple[str, Cell]]:
    """The cells of this module; another ``seed`` draws other random lives."""
    for dtype in ("float64", "float32"):
        yield f"life {dtype}", _cell(dtype, examples, seed)
        yield f"life thorough {dtype}", _cell(dtype, THOROUGH * examples, seed, thorough=True)


def _cell(dtype: str, examples: int, seed: int | None, *, thorough: bool = False) -> Cell:
    return Cell(lambda bench: lives(bench.worker, dtype, examples, seed), "training", (dtype,), thorough)


def lives(worker: Callable[[], Jobs], dtype: str, examples: int = EXAMPLES, seed: int | None = None) -> Verdict:
    """The fixed lives and ``examples`` random ones in that precision, the same in every run of an installation unless
    there is a ``seed``.

    One that fails is shrunk, and shown as a program that lives it again. ``worker`` is asked for anew each time, since
    a life may kill one.
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
    """Live one life; the worst of its errors beside the limit, or the first that is over it."""
    walk = Walk(worker, life)
    walk.to_its_end()
    return walk.verdict


def _reported(worker: Callable[[], Jobs], walk: Walk) -> Verdict:
    """The failure of the shortest life that shows it, with the program."""
    last = walk

    def fails(life: Life) -> int:
        nonlocal last
        if not getattr(last.worker, "alive", True):  # it would be given up before a shorter life is known
            return 0
        here = Walk(worker(), life)
        here.to_its_end()
        last = last if here.verdict.ok else here
        return 0 if here.verdict.ok else here.lived

    shortest(fails, walk.life, walk.lived)
    verdict, life = last.verdict, last.life
    said = f"action {last.lived} of {len(life.actions)}: {verdict.reason}"
    text = f"{said}\nthe shortest life seen to show it; save it as life.py, then: python life.py NAME\n\n{script(life)}"
    return Verdict(verdict.error, verdict.limit, verdict.where, text)
