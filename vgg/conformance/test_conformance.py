"""The suite for pytest. A test is one cell of the matrix, or one fact: a check on a case, and a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_conformance(vgg_judge: Callable[[Any], None], vgg_cell: Any) -> None:
    vgg_judge(vgg_cell)


def test_declared(vgg_measure: Callable[[Any], None], vgg_fact: Any) -> None:
    vgg_measure(vgg_fact)
