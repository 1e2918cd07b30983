"""Neutral dropout masks: from a counter-based generator, the same under every framework, NumPy and machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layers import Layer, expand
from .philox import stream
from .spec import Spec


def masks(spec: Spec, batch: int, seed: int, step: int) -> dict[str, NDArray[np.float64]]:
    """``{dropout layer: mask}`` of one training step: float64 (batch, units), 0 or 1 / (1 - rate).

    Raw Philox bits, keyed by seed, step and layer: no step or layer depends on another.
    """
    drawn = {}
    for row in dropouts(spec):
        rate, shape = row.attributes["rate"], (batch, *row.output_shape)
        bits = stream(seed, step, row.name).random_raw(int(np.prod(shape)))
        kept = (bits >> np.uint64(11)) * 2.0**-53 >= rate
        drawn[row.name] = (kept * np.float64(1 / (1 - rate))).reshape(shape)
    return drawn


def dropouts(spec: Spec) -> list[Layer]:
    """The dropout rows of the layer table."""
    return [row for row in expand(spec) if row.kind == "dropout"]
