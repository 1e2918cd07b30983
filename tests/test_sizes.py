"""Signs and winners that differ from the oracle are explained by rounding; limits count units in the last place."""

from __future__ import annotations

import numpy as np
import pytest

from vgg.conformance.sizes import SIZES
from vgg.conformance.switches import choices, rounded
from vgg.core import oracle
from vgg.core.comparator import EXACT, Limit

CASE = SIZES["crowd"]
TAPE = oracle.forward(CASE.spec, CASE.params("float32"), CASE.images("float32"))


def test_the_oracles_own_signs_and_winners_are_explained() -> None:
    verdict = rounded(CASE.spec, "float32", choices(CASE.spec, TAPE.activations), TAPE)
    assert verdict.ok
    assert verdict.error == 0


@pytest.mark.parametrize("name", ["block1.relu1", "block1.pool", "fc1.relu"])
def test_a_choice_that_rounding_does_not_explain_is_refused(name: str) -> None:
    chosen = choices(CASE.spec, TAPE.activations)
    chosen[name] = np.flip(chosen[name], axis=0)
    verdict = rounded(CASE.spec, "float32", chosen, TAPE)
    assert verdict.where == name
    assert verdict.error > verdict.limit


def test_a_limit_counts_units_in_the_last_place_of_its_format() -> None:
    assert Limit(2.0**-20, "", "float32").ulp == 8
    assert Limit(0.5, "").ulp is None
    assert EXACT.ulp == 0
