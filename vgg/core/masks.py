"""Neutral dropout masks, the same in every framework, under every version of NumPy and on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layers import Layer, expand
from .philox import stream
from .spec import Spec


def masks(spec: Spec, batch: int, seed: int, step: int) -> dict[str, NDArray[np.float64]]:
    """Return ``{dropout layer: mask}`` of one training step; a mask is float64 (batch, units), 0 or 1 / (1 - rate).

    It is made from raw Philox bits, keyed by seed, step and layer, so no step or layer depends on another.
    """
    result = {}
    for row in dropouts(spec):
        rate, shape = row.attributes["rate"], (batch, *row.output_shape)
        bits = stream(seed, step, row.name).random_raw(int(np.prod(shape)))
        kept = (bits >> np.uint64(11)) * 2.0**-53 >= rate
        result[row.name] = (kept * np.float64(1 / (1 - rate))).reshape(shape)
    return result


def dropouts(spec: Spec) -> list[Layer]:
    """Return the dropout rows of the layer table of ``spec``."""
    return [row for row in expand(spec) if row.kind == "dropout"]
