"""The resize matrix against a loop over pixels and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vgg.core.resize import resize_matrix

SIZES = [(1, 4), (1, 1), (2, 5), (5, 2), (7, 16), (16, 7), (28, 61), (61, 28), (9, 1), (12, 4), (4, 12)]


def _naive(line: NDArray[np.float64], target: int) -> list[float]:
    out = []
    for i in range(target):
        where = (i + 0.5) * len(line) / target - 0.5
        left = math.floor(where)
        clamped = [min(max(at, 0), len(line) - 1) for at in (left, left + 1)]
        out.append(float(line[clamped[0]] * (left + 1 - where) + line[clamped[1]] * (where - left)))
    return out


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_a_resize_is_half_pixel_bilinear(source: int, target: int) -> None:
    line = np.random.default_rng(source * 100 + target).normal(size=source)
    np.testing.assert_allclose(resize_matrix(source, target) @ line, _naive(line, target), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_every_row_sums_to_one(source: int, target: int) -> None:
    np.testing.assert_allclose(resize_matrix(source, target).sum(axis=1), np.ones(target), rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3, 28, 61, 224])
def test_an_equal_size_is_exactly_the_identity(size: int) -> None:
    np.testing.assert_array_equal(resize_matrix(size, size), np.eye(size))


def test_one_pixel_is_repeated() -> None:
    np.testing.assert_array_equal(resize_matrix(1, 3), [[1], [1], [1]])


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        (2, 4, [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]),
        (3, 2, [[0.75, 0.25, 0.0], [0.0, 0.25, 0.75]]),
        (6, 2, [[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]),
    ],
)
def test_small_matrices_are_the_ones_worked_out_by_hand(source: int, target: int, wanted: list[list[float]]) -> None:
    np.testing.assert_allclose(resize_matrix(source, target), wanted, rtol=0, atol=1e-15)


def test_an_image_is_resized_by_a_product_on_each_side() -> None:
    image = np.array([[0.0, 4, 8], [12, 24, 40]])
    resized = resize_matrix(2, 3) @ image @ resize_matrix(3, 2).T
    np.testing.assert_allclose(resized, [[1.0, 7.0], [8.0, 21.5], [15.0, 36.0]], rtol=0, atol=1e-13)


def test_a_shared_matrix_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        resize_matrix(5, 3)[0, 0] = 7
