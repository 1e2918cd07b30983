"""What real nets have and small ones do not: every architecture's numbers, depth, width, large images and batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..spec import Block, Conv, Head, Pool, Spec
from . import checks
from .cases import STRUCTURES, Array, Case
from .cell import Cell, on

DTYPES = ("float64", "float32")
CHECKS = {checks.forward: "inference", checks.backward: "gradients"}


class Spread(Case):
    """Labels from the first class to the last, in a mixed order."""

    def labels(self) -> Array:
        """(batch,), int64."""
        ends = np.linspace(0, self.spec.classes - 1, self.batch).astype(np.int64)
        return self._random(2).permutation(ends)


def _spec(shape: tuple[int, int, int], hidden: tuple[int, ...], classes: int, *blocks: Block, **more: Any) -> Spec:
    return Spec(blocks, shape, classes, Head(hidden, more.pop("dropout", 0.0)), **more)


def _block(count: int, channels: int, pool: Pool | None = None) -> Block:
    return Block((Conv(channels),) * count, pool)


_HALVED = Pool()
_LAYERS = _spec(
    (2, 19, 23), (9,) * 11, 6, _block(4, 6, _HALVED), _block(5, 6, _HALVED), _block(12, 6, _HALVED), dropout=0.5
)
_BLOCKS = _spec((2, 21, 17), (13,), 6, *(_block(1, 7, Pool(2, 1)) for _ in range(12)))
_WIDTHS = _spec(
    (3, 17, 18), (64,), 10, *(_block(n, width, _HALVED) for n, width in ((1, 64), (1, 128), (1, 256), (2, 512)))
)
_HEADS = _spec((2, 47, 45), (24, 4096, 40, 2051, 4100, 24), 1000, _block(1, 2))
_SUMS = _spec((1, 190, 191), (12,), 7, _block(1, 2), batch_norm=True)
_TALL = _spec((2, 1041, 6), (11,), 6, _block(1, 3, _HALVED), _block(1, 4))
_BROAD = _spec((2, 6, 1043), (11,), 6, _block(1, 3, _HALVED), _block(1, 4))
_CROWD = _spec((2, 6, 9), (7,), 300, _block(1, 3, _HALVED), _block(1, 5))

SIZES = {
    "layers": Case(_LAYERS, batch=4),
    "blocks": Case(_BLOCKS, batch=8),
    "widths": Case(_WIDTHS, batch=16),
    "heads": Spread(_HEADS, batch=64),
    "sums": Case(_SUMS, batch=36),
    "tall": Case(_TALL, batch=32),
    "broad": Case(_BROAD, batch=12),
    "crowd": Spread(_CROWD, batch=256),
}
"""Twelve convolutions and eleven hidden layers, of one width: names sorted as text would go unnoticed by their shapes.
Twelve blocks; the paper's widths; dense layers of 4096 inputs and outputs and 1000 classes; sums over 1.3 million
positions and 72,580 inputs; images of more than a thousand rows or columns; batches from 4 to 256.
"""


def cells() -> Iterator[tuple[str, Cell]]:
    """The numbers of every architecture by name, and of ``SIZES``."""
    named = {name: case for name, case in STRUCTURES.items() if name != "global_pool"}
    for (name, case), (check, level) in product(named.items(), CHECKS.items()):
        yield f"{check.__name__} {name} float64 eval", Cell(on(check, case, "float64", False), level)
    for name in ("layers", "blocks"):
        yield f"structure {name}", Cell(on(checks.structure, SIZES[name]), "inference", ("float32",))
    for name, case in SIZES.items():
        modes = {"eval": False} | ({"train": True} if case.spec.batch_norm else {})
        for (check, level), dtype, (mode, train) in product(CHECKS.items(), DTYPES, modes.items()):
            yield f"{check.__name__} {name} {dtype} {mode}", Cell(on(check, case, dtype, train), level, (dtype,))
