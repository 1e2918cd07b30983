"""What float32's rounding may do to a random net: where its numbers cancel, and where its gradients jump."""

from __future__ import annotations

import math

import numpy as np

from ..core import oracle
from ..core.comparator import ROUNDOFF
from ..core.layers import Layer, expand
from ..core.oracle import Mode, Tape
from .cases import Array, Arrays, Case
from .exact import leaders

TRIES = 4
SURE = 0.05
"""The least gradient by a logit, times the batch size, that counts as smooth: below it softmax is so near to its labels
that it subtracts nearly equal numbers."""


def floors(case: Case, mode: Mode) -> dict[str, float]:
    """Return how far one roundoff in every weight and pixel moves the loss, each gradient and each activation.

    The unit is a roundoff. The distance is about the array's norm, and more where numbers cancel.
    """
    roundoff, exact = ROUNDOFF["float32"], _numbers(case, mode, 0.0, 0)
    squares = dict.fromkeys(exact, 0.0)
    for seed in range(TRIES):
        for name, array in _numbers(case, mode, roundoff, seed).items():
            squares[name] += float(np.square(array - exact[name]).sum())
    return {name: math.sqrt(square) / roundoff for name, square in squares.items()}


def _numbers(case: Case, mode: Mode, noise: float, seed: int) -> Arrays:
    """Return all that the oracle computes if weights and images are off by a relative error of ``noise``."""
    random = np.random.RandomState(seed)

    def off(array: Array) -> Array:
        return array.astype(np.float64) * (1 + noise * random.standard_normal(array.shape))

    params = {name: off(array) for name, array in case.params("float32").items()}
    loss, grads, tape = oracle.loss_and_grads(case.spec, params, off(case.images("float32")), case.labels(), mode)
    return {**tape.activations, **grads, "loss": np.array(loss)}


def steady(case: Case, tape: Tape, limit: float) -> bool:
    """Return whether gradients are smooth here.

    No input of a ReLU, and no difference between the two largest values of a pool's window, may be within ``limit`` of
    zero, relative to the layer's largest value. The loss' gradient must not be near zero either.
    """
    before: Array = case.images("float32")
    for row in expand(case.spec):
        if row.kind == "relu" and (abs(before) <= limit * abs(before).max()).any():
            return False
        if row.kind == "max_pool" and not _clear(before, row, limit):
            return False
        before = tape.activations[row.name]
    _, grad = oracle.cross_entropy(tape.logits, case.labels())
    return float(abs(grad).max()) * len(grad) > SURE


def _clear(x: Array, row: Layer, limit: float) -> bool:
    """Return whether every window has a clear largest value, or none above zero."""
    if row.attributes["kernel"] == 1:
        return True
    second, largest = leaders(row, x)
    return not ((largest - second <= limit * abs(x).max()) & (largest > 0)).any()
