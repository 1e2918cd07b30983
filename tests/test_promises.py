"""The arrays that promises are judged with."""

from __future__ import annotations

import numpy as np
import pytest

from vgg.conformance.promises.arrays import LAYOUTS, aligned, overlapping, overwrite, ruin

ARRAYS = {
    "a matrix": np.arange(12.0).reshape(3, 4),
    "labels": np.arange(5),
    "pixels": np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4),
    "a number": np.array(3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_layout_has_the_same_numbers_until_it_is_ruined(name: str, layout: str) -> None:
    array = ARRAYS[name].copy()
    laid = LAYOUTS[layout](array)
    assert laid.shape == array.shape
    assert laid.dtype.newbyteorder("=") == array.dtype
    assert np.array_equal(laid, array)
    ruin(laid)
    assert not np.array_equal(laid, array)
    assert np.array_equal(array, ARRAYS[name])


@pytest.mark.parametrize("to", [64, 4096])
def test_aligned_memory_begins_at_a_multiple(to: int) -> None:
    assert aligned(np.arange(5.0), to).ctypes.data % to == 0


def test_overwriting_a_result_leaves_its_neighbours_alone() -> None:
    both = np.zeros(4)
    overwrite(both[:2])
    assert both[:2].all()
    assert not both[2:].any()


def test_arrays_that_share_memory_are_named() -> None:
    both = np.zeros((4, 2))
    assert overlapping([("one", both[:, 0]), ("other", both[:, 1]), ("third", np.zeros(2))]) == ""
    assert overlapping([("one", both[:, 0]), ("other", both[1])]) == "one and other"
