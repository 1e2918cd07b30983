"""The suite for pytest. A test is one cell of the matrix: a check on a case, and a backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vgg.client import Jobs
from vgg.conformance.cell import Judge
from vgg.conformance.declared import FACTS, Fact


def test_conformance(vgg_judge: Callable[[Judge], None], vgg_cell: Judge) -> None:
    vgg_judge(vgg_cell)


@pytest.mark.parametrize("fact", FACTS, ids=[name.replace(" ", "-") for name in FACTS])
def test_declared(vgg_fact: Callable[[Callable[[Jobs], Fact]], None], fact: str) -> None:
    vgg_fact(FACTS[fact])
