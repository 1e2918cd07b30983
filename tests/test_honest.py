"""Whoever says what it cannot do, or does otherwise, passes every cell that is left."""

from __future__ import annotations

from typing import Any

import faults_of_claims
import pytest
from kill_matrix import cells
from sabotage import Bench

from vgg.backends import LEVELS
from vgg.conformance.suite import cells as all_cells
from vgg.conformance.suite import judged


@pytest.mark.parametrize(("level", "dtypes"), [("inference", ("float32",)), ("gradients", ("float64",))])
def test_a_backend_that_claims_less_passes_all_that_it_claims(level: str, dtypes: tuple[str, ...]) -> None:
    def claim(b: Any, r: Any) -> None:
        b.LEVEL, b.DTYPES = level, dtypes
        for name in ("loss_and_grads", "learner")[LEVELS.index(level) :]:
            delattr(b, name)

    bench, levels = Bench(claim), LEVELS[: LEVELS.index(level) + 1]
    asked = {
        name: cell for name, cell in all_cells().items() if cell.level in levels and not {*cell.dtypes} - {*dtypes}
    }
    assert len(asked) > 30
    assert {name: verdict.reason for name, cell in asked.items() if not (verdict := judged(cell, bench)).ok} == {}


def test_a_backend_that_rounds_epsilon_and_says_so_passes_everything() -> None:
    def declare(b: Any, r: Any) -> None:
        faults_of_claims.epsilon_declared_in_float32(b, r)
        faults_of_claims.epsilon_rounded_to_float32(b, r)

    bench = Bench(declare)
    assert {name: verdict.reason for name, cell in cells().items() if not (verdict := judged(cell, bench)).ok} == {}
