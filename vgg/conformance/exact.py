"""Layers that round nothing must be exact. ReLU, max-pool and flatten choose or move numbers, so each follows bit for
bit from the layer before it in the same trace, in every dtype.

XLA computes a batch norm again for the layers that follow it, and rounds it differently. From there to the next sum the
only certain thing is that a ReLU has no negative value.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np

from ..core.comparator import EXACT, Verdict
from ..core.layers import Layer, expand
from ..core.spec import Spec
from .cases import Array, Arrays

KINDS = ("relu", "max_pool", "flatten", "dropout")


def unrounded(spec: Spec, traced: Arrays, *, train: bool) -> Verdict:
    """Judge every ReLU, max-pool and flatten of a trace, and in eval mode every dropout, from the layer before it."""
    anew = False
    for before, row in pairwise(expand(spec)):
        anew = before.kind == "batch_norm" or (anew and before.kind in KINDS)
        if row.kind not in KINDS or (train and row.kind == "dropout") or (anew and row.kind != "relu"):
            continue
        source = row if anew else before
        wanted = _followed(row, traced[source.name])
        if not np.array_equal(traced[row.name], wanted):
            return _differs(row, source, traced[row.name], wanted)
    return Verdict(0.0, EXACT)


def windows(row: Layer, x: Array) -> list[Array]:
    """Return what each tap of a max-pool reads of its input (N, C, H, W), row by row: views (N, C, *output sides)."""
    kernel, stride = row.attributes["kernel"], row.attributes["stride"]
    height, width = (stride * side for side in row.output_shape[1:])
    taps = [(i, j) for i in range(kernel) for j in range(kernel)]
    return [x[:, :, i : i + height : stride, j : j + width : stride] for i, j in taps]


def leaders(row: Layer, x: Array) -> Array:
    """Return the second largest and the largest value of each window of a max-pool of several taps, (2, N, C, H, W)."""
    two: Array = np.partition(np.array(windows(row, x)), -2, axis=0)[-2:]
    return two


def _differs(row: Layer, before: Layer, got: Array, wanted: Array) -> Verdict:
    count, worst = np.count_nonzero(got != wanted), float(np.abs(got - wanted).max())
    reason = f"{row.name}: {count} of {got.size} values are not exactly the {row.kind} of {before.name}, by {worst:.1e}"
    return Verdict(worst, EXACT, row.name, reason)


def _followed(row: Layer, x: Array) -> Array:
    if row.kind == "relu":
        return np.maximum(x, 0)
    if row.kind == "max_pool":
        return reduce(np.maximum, windows(row, x))
    return x.reshape(len(x), -1)
