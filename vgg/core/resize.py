"""The neutral resize: bilinear with half-pixel centres, written as a small matrix for each axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=16)
def resize_matrix(source: int, target: int) -> NDArray[np.float64]:
    """(target, source) matrix M: ``M_height @ image @ M_width.T`` resizes (..., height, width) pixels.

    Output pixel ``i`` looks at source coordinate ``(i + 0.5) * source / target - 0.5``, edges repeated, without
    antialiasing: PyTorch's ``interpolate(mode="bilinear", align_corners=False)`` and ``tf.image.resize``.
    """
    where = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(where.astype(int), max(source - 2, 0))
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] = 1 - (where - low)
    matrix[np.arange(target), np.minimum(low + 1, source - 1)] += where - low
    matrix.setflags(write=False)
    return matrix
