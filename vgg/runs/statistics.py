"""What the seeds of a comparison say: means and deviations of a backend, and differences of pairs beyond chance.

A pair's runs of the same seed start from the same parameters and see the same batches, so the pair is judged by its
differences of each seed: Student's paired t, two-sided. Seeds that only one of the two has are left out.

**Correction.** The chance that any pair of a quantity is wrongly called ``different`` is at most ``ERROR``: each pair
is judged at ``ERROR`` divided by the number of pairs (Bonferroni). Holm's procedure would find a little more. Its words
depend on the order of all p-values, so there is no plain interval per pair that always agrees with the word. Here the
word is read from the interval and cannot contradict it. The number of pairs is that of all backends of the comparison,
also of those that failed: it is known before the first run.

**Ratios.** images/s are compared by their logarithms. What disturbs a speed is a factor, not a sum: a machine at half
its clock halves both speeds, which leaves their ratio alone and halves their difference. The result is given twice: as
ratios minus 1 (0.05: the first is 5 % faster), and in images/s, these times the geometric mean of the second.

**Equal differences.** Where all differences are the same, up to rounding, there is no deviation for Student's t.
Accuracies are multiples of one image, so a few runs can agree by chance. If all differences are 0, the pair is ``not
distinguishable``, with the interval [0, 0] if all values are the same, and that of rounding if they are not. Otherwise
the sign test judges: n differences on the same side have a probability of 2 ** (1 - n) if neither side is favoured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

ERROR, POWER = 0.05, 0.8
"""The rate of wrong words ``different`` per quantity, and the power at which a difference is called visible."""
QUANTITIES = {"test_accuracy": False, "last_loss": False, "images_per_second": True}
"""Quantity, as a summary names it -> whether it is compared by ratios."""
DIFFERENT, ALIKE, TOO_FEW = "different", "not distinguishable", "too few runs"
LARGEST = 1e150
"""Numbers beyond it have squares that float64 cannot hold. They count as not finite."""
LARGEST_LOG = 340.0
"""Logarithms of ratios are cut there, so that such a ratio of a number within ``LARGEST`` is finite."""
FAR = 500.0
"""Standard errors beyond which only the deviation's own scatter matters: SciPy's series would take very long there."""
ROUNDING = 2.0**-50
"""Differences of numbers of size 1 that are closer than this are equal. Rounding parts them by a quarter of it."""

Runs = Mapping[str, Mapping[str, Any]]
"""Seed -> summary of the run."""


def statistics(runs: Runs) -> dict[str, dict[str, Any]]:
    """Return ``{quantity: {count, mean, deviation}}`` of a backend's runs.

    ``deviation`` is the standard deviation of a sample, with n - 1, and None for fewer than two runs. ``mean`` is None
    for no run. Values that are not finite are left out.
    """
    return {quantity: _summary(list(_values(runs, quantity).values())) for quantity in QUANTITIES}


def pairs(backends: Mapping[str, Runs]) -> list[dict[str, Any]]:
    """Return the verdict on every pair of ``backends`` and every quantity.

    A verdict has ``backends``, ``quantity``, and what ``judged`` returns.
    """
    couples = list(combinations(backends, 2))
    return [
        {"backends": list(couple), "quantity": quantity}
        | judged(*_common(*(_values(backends[name], quantity) for name in couple)), len(couples), relative=relative)
        for quantity, relative in QUANTITIES.items()
        for couple in couples
    ]


def judged(
    first: Sequence[float], second: Sequence[float], couples: int = 1, *, relative: bool = False
) -> dict[str, Any]:
    """Return the verdict on two lists of finite values, the same seeds in the same order, as one of ``couples`` pairs.

    ``count`` is the number of seeds, ``difference`` the mean of first minus second, ``interval`` its confidence
    interval, and ``word`` one of ``different``, ``not distinguishable`` and ``too few runs``. ``visible`` is the
    difference that as many runs with the same deviation would call different with a probability of ``POWER``; it is 0
    for runs that are equal up to rounding. With too few runs ``interval`` and ``visible`` are None; without a run
    ``difference`` is None too. If ``relative``, the values are compared by their ratios, and ``ratio`` has these three
    as ratios minus 1.
    """
    nothing = {"difference": None, "interval": None, "visible": None}
    if not first:
        return {"count": 0, "word": TOO_FEW, **nothing} | ({"ratio": nothing} if relative else {})
    one, two = ([math.log(value) for value in values] if relative else values for values in (first, second))
    differences = [a - b for a, b in zip(one, two, strict=True)]
    rounding = ROUNDING * max(1.0 if relative else 0.0, *map(abs, one), *map(abs, two))
    same = list(first) == list(second)
    mean, radius, visible = _measured(differences, 0.0 if same else rounding, couples)
    word = TOO_FEW if radius is None else DIFFERENT if abs(mean) > radius else ALIKE
    interval = None if radius is None else [mean - radius, mean + radius]
    result = {"difference": mean, "interval": interval, "visible": visible}
    about = {"count": len(differences), "word": word}
    return about | (_scaled(result, math.exp(fmean(two))) | {"ratio": _scaled(result, 1)} if relative else result)


def _measured(differences: Sequence[float], rounding: float, couples: int) -> tuple[float, float | None, float | None]:
    """Return (mean, radius of its confidence interval, visible difference), without the last two if runs are too few.

    Numbers that ``rounding`` alone may part are equal.
    """
    mean, count = fmean(differences), len(differences)
    if count > 1 and max(differences) - min(differences) > rounding:
        error = stdev(differences) / math.sqrt(count)
        return mean, critical(count, couples) * error, detectable(count, couples) * error
    if count > 1 and abs(mean) <= rounding:
        return mean, rounding, 0.0
    radius = 0.0 if 2.0 ** (1 - count) <= ERROR / couples else None
    return mean, radius, radius


@lru_cache(maxsize=1024)
def critical(count: int, couples: int) -> float:
    """Return the radius of the confidence interval of ``count`` differences, in standard errors."""
    from scipy.special import stdtrit  # slow to import, and only several seeds need it

    return float(-stdtrit(count - 1, ERROR / couples / 2))


@lru_cache(maxsize=1024)
def detectable(count: int, couples: int) -> float:
    """Return the difference, in standard errors, that ``count`` runs call different with a probability of ``POWER``.

    That is the noncentrality of the t distribution whose share beyond ``critical`` is ``POWER``. The share of those
    that are called different with the wrong sign is left out; it is below a thousandth.
    """
    from scipy.special import chdtri, nctdtrinc

    radius, freedom = critical(count, couples), count - 1
    if radius > FAR:
        return float(radius * math.sqrt(chdtri(freedom, 1 - POWER) / freedom))
    return float(nctdtrinc(freedom, 1 - POWER, radius))


def _scaled(logs: Mapping[str, Any], size: float) -> dict[str, Any]:
    """Return what the verdict says of logarithms of ratios as ratios minus 1, times ``size``."""

    def scaled(log: float | None) -> float | None:
        return None if log is None else size * math.expm1(min(log, LARGEST_LOG))

    interval = logs["interval"] and [scaled(end) for end in logs["interval"]]
    return {"difference": scaled(logs["difference"]), "interval": interval, "visible": scaled(logs["visible"])}


def _values(runs: Runs, quantity: str) -> dict[str, float]:
    """Return ``{seed: value}`` of the runs whose value can be reckoned with."""
    values = {seed: summary[quantity] for seed, summary in runs.items()}
    least = 1 / LARGEST if QUANTITIES[quantity] else -LARGEST
    return {seed: value for seed, value in values.items() if least < value < LARGEST}


def _common(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[list[float], list[float]]:
    seeds = [seed for seed in first if seed in second]
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def _summary(values: Sequence[float]) -> dict[str, Any]:
    mean = fmean(values) if values else None
    return {"count": len(values), "mean": mean, "deviation": stdev(values) if len(values) > 1 else None}
