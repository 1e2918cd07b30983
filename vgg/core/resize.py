"""Resizing that is the same in every framework: bilinear with half-pixel centres, as one small matrix per axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=16)
def resize_matrix(source: int, target: int) -> NDArray[np.float64]:
    """Return the matrix (target, source) that resizes one axis from ``source`` to ``target`` pixels.

    ``M_height @ image @ M_width.T`` resizes (..., height, width) pixels. Output pixel ``i`` is read at the source
    coordinate ``(i + 0.5) * source / target - 0.5``, with repeated edges and without antialiasing, as by PyTorch's
    ``interpolate(mode="bilinear", align_corners=False)`` and by ``tf.image.resize``. The matrix is read-only.
    """
    where = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(where.astype(int), max(source - 2, 0))
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] = 1 - (where - low)
    matrix[np.arange(target), np.minimum(low + 1, source - 1)] += where - low
    matrix.setflags(write=False)
    return matrix
