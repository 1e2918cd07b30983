"""The courses of the check of steps: what would make a gradient jump stays far from happening."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from vgg.conformance.courses import COURSES, steady
from vgg.core import oracle
from vgg.core.blocks import LRN_ALPHA, LRN_BETA, LRN_K
from vgg.core.layers import Layer, expand
from vgg.core.oracle import Mode

STEPS = [(name, step) for name, course in COURSES.items() for step in range(course.steps + 2)]
BF16 = 2.0**-8
Pairs = list[tuple[Layer, NDArray[np.float64], Layer, NDArray[np.float64]]]


@pytest.fixture(params=STEPS, ids=[f"{name}-{step}" for name, step in STEPS])
def layers(request: pytest.FixtureRequest) -> Pairs:
    """Every two neighbours of the table and what they give in one step."""
    name, step = request.param
    course = COURSES[name]
    mode = Mode(train=True, masks=course.masks(step))
    seen = oracle.forward(course.case.spec, steady(course), course.seen(step), mode).activations
    rows = [(row, seen[row.name]) for row in expand(course.case.spec)]
    return [(*one, *other) for one, other in pairwise(rows)]


def test_no_relu_is_near_to_switching(layers: Pairs) -> None:
    inputs = [x for _, x, row, _ in layers if row.kind == "relu"]
    assert min(np.abs(x).min() / x.std() for x in inputs) > 4 * BF16


def test_no_max_pool_has_a_close_second(layers: Pairs) -> None:
    for _, x, row, out in layers:
        if row.kind == "max_pool":
            kernel, stride = row.attributes["kernel"], row.attributes["stride"]
            rows, columns = out.shape[2:]
            views = [
                x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
                for i, j in product(range(kernel), repeat=2)
            ]
            second, first = np.sort(views, axis=0)[-2:]
            assert ((first - second)[first > 0] / first[first > 0]).min() > 2 * BF16


def test_lrn_matters_and_fp16_can_hold_it(layers: Pairs) -> None:
    for _, x, row, out in layers:
        if row.kind == "lrn":
            scale = (out[x > 0] / x[x > 0]) ** (-1 / LRN_BETA)
            sums = (scale - LRN_K) / LRN_ALPHA
            assert scale.mean() > 1.05 * LRN_K
            assert sums.max() < 65504
