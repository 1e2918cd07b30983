"""Bounds on how rare binomial counts are. They hold for every count, and none is estimated."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

_TILTS = np.concatenate([-np.logspace(3, -2, 21), np.linspace(0.02, 0.48, 24)])


def rarity(counts: Counts, trials: Counts | int, chance: float) -> Floats:
    """Return for each count log10 of a bound on the chance that a binomial variable is as far on that side of its mean.

    Beyond the mean the terms fall faster than geometrically, by the ratio of the first two.
    """
    above = counts >= trials * chance
    r, p = np.where(above, counts, trials - counts), np.where(above, chance, 1 - chance)
    ratio = (trials - r) * p / ((r + 1) * (1 - p))
    log = _log_pmf(r, np.asarray(trials), p) - np.log1p(-np.minimum(ratio, 1 - 1e-9))
    rare: Floats = np.minimum(log, 0.0) / math.log(10)
    return rare


def dispersion(counts: Counts, trials: int, chance: float) -> float:
    """Return log10 of a bound on the chance that so many binomial counts are as close to their mean, or as far from it.

    It is Chernoff's bound: exp(n log E[exp(t z)] - t sum(z)) for any t, with z the squared distance of one count.
    """
    squares, log_mgf = _tilted(trials, chance)
    exponents = counts.size * log_mgf - _TILTS * squares[counts].sum()
    return float(min(exponents.min(), 0.0) / math.log(10))


@lru_cache(maxsize=64)
def ties(units: int, keeps: float) -> tuple[float, float]:
    """Return the chances that two masks keep equally many units, and that one keeps as many as the other drops."""
    pmf = np.exp(_log_pmf(np.arange(units + 1), np.asarray(units), keeps))
    return float(pmf @ pmf), max(float(pmf @ pmf[::-1]), 1e-12)


@lru_cache(maxsize=64)
def _log_factorials(size: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size)))])


def _log_pmf(counts: Counts, trials: Counts, chance: float | Floats) -> Floats:
    log = _log_factorials(1 << int(trials.max()).bit_length())
    of_counts = log[trials] - log[counts] - log[trials - counts]
    log_pmf: Floats = of_counts + counts * np.log(chance) + (trials - counts) * np.log1p(-np.asarray(chance))
    return log_pmf


@lru_cache(maxsize=256)
def _tilted(trials: int, chance: float) -> tuple[Floats, Floats]:
    """Return, for each count, its squared distance from the mean in variances; and the log of that distance's moment
    generating function at every tilt.
    """
    counts = np.arange(trials + 1)
    squares = np.square(counts - trials * chance) / (trials * chance * (1 - chance))
    exponents = _log_pmf(counts, np.asarray(trials), chance) + _TILTS[:, None] * squares
    most = exponents.max(axis=1, keepdims=True)
    return squares, np.log(np.exp(exponents - most).sum(axis=1)) + most[:, 0]
