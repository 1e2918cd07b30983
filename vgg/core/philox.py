"""Random numbers that are the same under every version of NumPy and on every machine.

They are computed from raw Philox bits, which NumPy does not change, by operations that IEEE 754 rounds exactly
(+ - * / sqrt). ``log`` and ``Generator.normal`` are not used: their results may change by an ulp.
"""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 15
_TRUNCATED_STD = 0.8796256610342398
"""Standard deviation of a standard normal distribution that is cut at +-2. Flax and Keras divide by it."""


def stream(*key: int | str) -> np.random.Philox:
    """Return the generator of raw bits for ``key``. Every array and every mask has its own key."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def raw(shape: tuple[int, ...], *key: int | str) -> NDArray[np.uint64]:
    """Return an array of this shape with raw 64-bit numbers from the stream of ``key``."""
    numbers: NDArray[np.uint64] = stream(*key).random_raw(math.prod(shape))
    return numbers.reshape(shape)


def uniform(bits: np.random.Philox) -> NDArray[np.float64]:
    """Return ``CHUNK`` numbers in [-1, 1), each from the upper 53 of 64 raw bits."""
    raw: NDArray[np.uint64] = bits.random_raw(CHUNK)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def normal(bits: np.random.Philox) -> NDArray[np.float64]:
    """Return standard normal numbers by Marsaglia's polar method, from ``CHUNK`` uniform ones.

    Pairs outside the unit circle are dropped, so the count varies.
    """
    pairs = uniform(bits).reshape(2, -1)
    s = pairs[0] ** 2 + pairs[1] ** 2
    inside = (s < 1.0) & (s > 0.0)
    pairs, s = pairs[:, inside], s[inside]
    numbers: NDArray[np.float64] = (pairs * np.sqrt(-2.0 * _log(s) / s)).ravel()
    return numbers


def truncated(bits: np.random.Philox) -> NDArray[np.float64]:
    """Return standard normal numbers without those beyond +-2, scaled to unit variance; the count varies."""
    numbers = normal(bits)
    return numbers[np.abs(numbers) < 2.0] / _TRUNCATED_STD


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm to 1e-15, computed by exactly rounded operations only.

    x = m 2^e, and log m = 2 atanh((m - 1) / (m + 1)).
    """
    m, e = np.frexp(x)
    small = m < math.sqrt(0.5)
    m, e = np.where(small, 2.0 * m, m), e - small
    t = (m - 1.0) / (m + 1.0)
    tt = t * t
    total = np.zeros_like(t)
    for k in range(21, 0, -2):
        total = total * tt + 1.0 / k
    result: NDArray[np.float64] = 2.0 * t * total + e * math.log(2.0)
    return result
