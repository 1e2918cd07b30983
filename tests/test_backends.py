"""What the four backends share at the seam."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from vgg import VGGError
from vgg.backends import VELOCITY, check_batch, check_labels, check_state
from vgg.conformance.cases import CASES
from vgg.core import init, oracle

WRONG = [[0, 6], [-1, 2], [0.0, 1.0], [True, False], [[0], [1]], [200, 2]]


@pytest.mark.parametrize("labels", WRONG)
def test_labels_that_are_no_classes_are_refused_in_the_oracles_words(labels: Any) -> None:
    with pytest.raises(VGGError) as refusal:
        oracle.cross_entropy(np.zeros((2, 6)), np.array(labels))
    with pytest.raises(VGGError, match=f"^{re.escape(str(refusal.value))}$"):
        check_labels(np.array(labels), 6)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_the_first_and_the_last_class_are_labels(dtype: str) -> None:
    check_labels(np.array([0, 5], dtype), 6)


SPEC = CASES["batch_norm"].spec
X, Y = np.zeros((2, *SPEC.input_shape), np.float32), np.array([0, 5])


@pytest.mark.parametrize("x", [X, X.astype(float), np.zeros((2, 3, 9, 70), np.uint8)])
def test_batches_that_fit_are_accepted(x: Any) -> None:
    check_batch(x, Y, SPEC)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[0], Y, r"images: got \(3, 35, 51\), wanted \(N, 3, 35, 51\)"),
        (X[:, 1:], Y, r"images: got \(2, 2, 35, 51\), wanted \(N, 3, 35, 51\)"),
        (X[..., 1:], Y, r"images: got \(2, 3, 35, 50\), wanted \(N, 3, 35, 51\)"),
        (np.zeros((2, 1, 9, 70), np.uint8), Y, r"images: got \(2, 1, 9, 70\), wanted \(N, 3, H, W\)"),
        (X, Y[1:], "labels: got 1, wanted 2, one per image"),
        (X, Y + 1, r"labels: got \[1, 6\], wanted 2 integers from 0 to 5"),
    ],
)
def test_batches_that_do_not_fit_are_refused(x: Any, y: Any, message: str) -> None:
    with pytest.raises(VGGError, match=f"^{message}$"):
        check_batch(x, y, SPEC)


def state() -> dict[str, Any]:
    arrays = init.init(SPEC)
    moving = {VELOCITY + name: a for name, a in arrays.items() if "running_" not in name}
    return {**arrays, **moving, "step": np.array(3)}


def test_a_whole_state_is_accepted() -> None:
    check_state(state(), SPEC)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step": None}, "state: step: got nothing"),
        ({"velocity/fc3.bias": None}, "state: velocity/fc3.bias: got nothing"),
        ({"velocity/fc3.bias": np.zeros(1)}, r"state: velocity/fc3.bias: got \(1,\), wanted \(6,\)"),
        (
            {"velocity/block1.bn1.running_var": np.zeros(5)},
            "unknown parameter in state",
        ),
        ({"fc3.bias": np.zeros((6, 1))}, r"state: fc3.bias: got \(6, 1\), wanted \(6,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(wrong: dict[str, Any], message: str) -> None:
    arrays = {name: a for name, a in {**state(), **wrong}.items() if a is not None}
    with pytest.raises(VGGError, match=f"^{message}"):
        check_state(arrays, SPEC)
