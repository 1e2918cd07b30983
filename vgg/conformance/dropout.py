"""Dropout of models: where it is active, how it rescales, and whether its masks are independent and at the rate."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..core.comparator import EXACT, ROUNDOFF, Verdict, compare, forward_limit
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .cell import Cell, on
from .checks import declared, dropout_scale, dropouts, refused, scale_roundings
from .independence import Kept, independence
from .steps import worst
from .unmasking import Draw


def modes(worker: Jobs, draw: Draw) -> Verdict:
    """Judge dropout: none in eval mode; in train mode inverted, at its rate, independent by unit, image and layer.

    ``trace`` and ``forward`` must draw the same masks. The generator is seeded, so a backend that passes
    once always passes.
    """
    return worst(_verdicts(worker, draw))


def _verdicts(worker: Jobs, draw: Draw) -> Iterator[Verdict]:
    worker.build(draw.spec, draw.params, dtype=draw.precision)
    x, scale = draw.images, dropout_scale(declared(worker)["dropout"], draw.rate)
    evaluated, trained = worker.trace(x), worker.trace(x, train=True)
    kept: list[Kept] = []
    for before, row in dropouts(Case(draw.spec)):
        if not np.array_equal(evaluated[row], evaluated[before]):
            yield refused(row, "dropout is active in eval mode")
        with np.errstate(divide="ignore", invalid="ignore"):
            mask = np.asarray(trained[row], np.float64) / trained[before]
        yield _inverted(draw, row, mask, scale)
        kept.append(mask > 0)
    for each in _by_width(kept):
        yield independence(each[np.newaxis], draw.rate)
    yield _alike(draw, worker.forward(x, train=True), trained)


def _inverted(draw: Draw, row: str, mask: Array, scale: float) -> Verdict:
    """Judge whether a mask (N, units) is 0 or ``scale``, within the rounding of the product that it is read from."""
    tolerance = (scale_roundings(draw.rate) + 2) * ROUNDOFF[draw.precision] * scale
    wrong = mask[~((mask == 0) | (np.abs(mask - scale) <= tolerance))]
    if wrong.size:
        return refused(row, f"train mode multiplies by {wrong[0]:.9g}, wanted 0 or {scale:.9g}")
    return Verdict(0.0, EXACT) if mask.any() else refused(row, "train mode drops every unit")


def _by_width(kept: list[Kept]) -> Iterator[Kept]:
    """Yield masks (layers, images, units): the units that all layers have, then the other units of wider layers."""
    narrowest = min(mask.shape[1] for mask in kept)
    yield np.stack([mask[:, :narrowest] for mask in kept])
    yield from (mask[np.newaxis, :, narrowest:] for mask in kept if mask.shape[1] > narrowest)


def _alike(draw: Draw, logits: Array, trained: Arrays) -> Verdict:
    """Judge whether the logits of ``forward`` are those at the end of the trace."""
    last = next(reversed(trained))
    limit = forward_limit(draw.spec, draw.precision)
    return compare({"logits of forward()": logits}, {"logits of forward()": trained[last]}, limit=limit)


_DRAWS = {
    "half": (0.5, "float64", 12, (384, 384, 384)),
    "quarter": (0.25, "float32", 5, (375, 500, 375)),
    "three tenths": (0.3, "float32", 17, (384, 384, 384)),
    "tenth": (0.1, "float64", 16, (384, 384)),
    "nine tenths": (0.9, "float32", 33, (384, 384, 384)),
    "wide": (0.5, "float32", 8, (5003,)),
    "fifth": (0.2, "float32", 9, (384, 384)),
    "two fifths": (0.4, "float64", 25, (130,) * 10),
    "seven tenths": (0.7, "float32", 11, (384, 384)),
    "rare": (0.0059, "float32", 66, (1000, 1000, 1000)),
    "crowd": (0.5, "float32", 400, (300, 2, 1)),
}
"""Rate, dtype, batch size and widths of the hidden layers. A small rate shows a backend that rounds it to a 256th or a
hundredth, layers of one and two units show one that never drops all of them, and ten layers one whose masks repeat
from layer to layer.
"""


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield every rate in one dtype, and thorough cells in the other dtype."""
    for (name, (rate, usual, batch, hidden)), dtype in product(_DRAWS.items(), ("float64", "float32")):
        draw = Draw(rate, dtype, 0, batch, hidden, batch_norm=name == "quarter")
        yield f"modes {name} {dtype}", Cell(on(modes, draw), "gradients", (dtype,), thorough=dtype != usual)
