"""Lives of a learner: thousands for a healthy backend, and how the life that a faulty one fails is told."""

from __future__ import annotations

import faults_of_lives
import pytest
from sabotage import SABOTEURS, Inside

from vgg.conformance import lives
from vgg.conformance.life import Life

assert faults_of_lives  # importing it enlists its saboteurs
LIVES = 1000
"""Random lives per precision, cut into parts that several processes share. Hypothesis draws constants of the source
code that is imported, too, so each installation has lives of its own.
"""
PARTS = 4


@pytest.mark.parametrize("seed", range(PARTS))
@pytest.mark.parametrize(("dtype", "share"), [("float64", 0.6), ("float32", 0.5)])
def test_a_healthy_learner_lives_a_thousand_lives(dtype: str, share: float, seed: int) -> None:
    worker = Inside()
    verdict = lives.lives(lambda: worker, dtype, LIVES // PARTS, seed)
    assert verdict.ok, verdict.reason
    judged, _, taken = verdict.where.partition(", ")[2].split()[:3]
    assert int(judged) > share * int(taken)


FAULTS = ("momentum is lost unless the state was asked", "evaluates with the weights of its first call")


@pytest.mark.parametrize("name", FAULTS)
def test_a_life_that_fails_is_cut_to_a_few_actions_and_printed_as_a_program_that_fails_too(name: str) -> None:
    worker = Inside(SABOTEURS[name].sabotage)
    reason = lives.lives(lambda: worker, "float64").reason
    program = reason.partition("\n\n")[2]
    names: dict[str, object] = {}
    exec(program.partition("\nwith Worker")[0], names)
    life = next(value for value in names.values() if isinstance(value, Life))
    assert len(life.actions) < 8
    assert not lives.replay(worker, life).ok
    assert lives.replay(Inside(), life).ok
