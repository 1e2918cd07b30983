"""Judge whether dropout masks keep every unit independently of the others, at the rate.

Every statistic that is used has a known distribution if units are independent: a sum over distinct units, or over
products of distinct pairs of them, is binomial. So there is a bound on how rare each number is, and the rarest of all
decides: its chance times the number of all numbers (Bonferroni) must not be below ``FALSE_ALARM``. No limit is
estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.comparator import Limit, Verdict
from .binomial import Counts, dispersion, rarity, ties

Kept = NDArray[np.bool_]
Spectra = NDArray[np.complex128]

FALSE_ALARM = 1e-9
"""The largest chance that independent units at the rate fail in one judgement."""
LIMIT = Limit(
    -math.log10(FALSE_ALARM), "minus log10 of the chance that independent units look so: one judgement in 1e9"
)
AXES = ("draw", "layer", "image", "unit")
_Place = Callable[[int], str]
_Row = tuple[str, _Place, Spectra, Spectra]


class Finding(NamedTuple):
    """The rarest of ``numbers`` numbers: log10 of a bound on its chance, and what it is."""

    log10: float
    numbers: int
    what: str


def independence(kept: Kept, rate: float) -> Verdict:
    """Judge masks (draws, layers, images, units), True where a unit is kept, that drop at ``rate``.

    The numbers are counts over all subsets of the axes, with their extremes and their dispersion; all pairs of masks at
    all cyclic lags of the units, as they are and mirrored; every mask with itself in the same way; sums over all pairs
    that lie equally far apart; and pairs that keep equally many units, as permuted masks do.
    """
    rarer = kept if rate > 0.5 else ~kept
    spectra, chance = np.fft.rfft(rarer), min(rate, 1 - rate)
    families = [
        _counted(kept, 1 - rate),
        _paired(rarer, spectra, chance**2),
        _alone(rarer, spectra, chance**2),
        _pooled(kept.shape, spectra, chance**2),
        _permuted(kept, 1 - rate),
    ]
    return _verdict(families)


def unrelated(one: Kept, other: Kept, rates: tuple[float, float]) -> Verdict:
    """Judge two sets of masks (draws, layers, images, units), each at its rate, against each other.

    The numbers are all pairs at all lags, as they are and mirrored, and the sums over masks at the same place in both.
    Of the wider masks only the first units count.
    """
    units = min(one.shape[-1], other.shape[-1])
    rarer = [(kept if rate > 0.5 else ~kept)[..., :units] for kept, rate in zip((one, other), rates, strict=True)]
    chance = math.prod(min(rate, 1 - rate) for rate in rates)
    spectra = [np.fft.rfft(flags.reshape(-1, units)) for flags in rarer]
    places = [_place(flags) for flags in rarer]
    shared = tuple(slice(min(sizes)) for sizes in zip(*(flags.shape for flags in rarer), strict=True))
    both = rarer[0][shared] & rarer[1][shared]
    rows = ((places[0](i), places[1], spectrum, spectra[1]) for i, spectrum in enumerate(spectra[0]))
    return _verdict([_same_place(both, chance), [_rarest_pair(rows, units, chance)]])


def _verdict(families: Iterable[Iterable[Finding]]) -> Verdict:
    """Return the verdict on all families of findings.

    Each family has an equal share of ``FALSE_ALARM``, and so has each number in it. Otherwise families of many numbers
    would weaken those of few.
    """
    judged = [findings for family in families if (findings := list(family))]
    error, what = 0.0, ""
    for findings in judged:
        rarest = min(findings, key=lambda finding: finding.log10)
        chances = len(judged) * sum(finding.numbers for finding in findings)
        error, what = max((error, what), (-rarest.log10 - math.log10(chances), rarest.what))
    reason = f"{what}: with independent units this happens once in 1e{error:.0f} judgements"
    return Verdict(error, LIMIT, what, "" if error <= LIMIT else reason)


def _same_place(both: Kept, chance: float) -> Iterator[Finding]:
    """Count units that two sets of masks drop, or keep, at the same place: per draw and layer, and in total."""
    for axes, of in (((2, 3), "in a layer of a draw"), ((0, 1, 2, 3), "in all")):
        counts = np.ravel(both.sum(axis=axes))
        trials = both.size // counts.size
        rare = rarity(counts, trials, chance)
        worst = int(rare.argmin())
        yield Finding(float(rare[worst]), 2 * counts.size, f"{_share(counts[worst], trials, chance)} {of}")


def _counted(kept: Kept, chance: float) -> Iterator[Finding]:
    """Count the units that are kept, over every subset of the axes."""
    long = [axis for axis, size in enumerate(kept.shape) if size > 1]
    for axes in (axes for size in range(1, len(long) + 1) for axes in combinations(long, size)):
        counts, trials = np.ravel(kept.sum(axis=axes)), math.prod(kept.shape[axis] for axis in axes)
        of = " of one ".join(("", *(AXES[axis] for axis in long if axis not in axes)))
        rare = rarity(counts, trials, chance)
        worst = int(rare.argmin())
        share = _share(counts[worst], trials, chance, "kept")
        yield Finding(float(rare[worst]), 2 * counts.size, f"{share}{of}")
        if counts.size > 1:
            spread = f"the number of units kept{of} has variance {np.square(counts - trials * chance).mean():.3g}"
            wanted = f"wanted about {trials * chance * (1 - chance):.3g}"
            yield Finding(dispersion(counts, trials, chance), 2, f"{spread}, {wanted}")


def _paired(rarer: Kept, spectra: Spectra, chance: float) -> Iterator[Finding]:
    """Compare all pairs of masks at all lags."""
    units, place = rarer.shape[-1], _place(rarer)
    flat = spectra.reshape(-1, spectra.shape[-1])
    if len(flat) > 1:
        others = ((place(i), lambda j, i=i: place(i + 1 + j), flat[i], flat[i + 1 :]) for i in range(len(flat) - 1))
        yield _rarest_pair(others, units, chance)


def _rarest_pair(pairs: Iterable[_Row], units: int, chance: float) -> Finding:
    """Return the rarest of ``pairs``: a mask's place and spectrum, then those of the masks to compare it with."""
    counts, whats, numbers = [], [], 0
    for place, places, spectrum, others in pairs:
        for way, first in (("shifted", spectrum.conj()), ("mirrored and shifted", spectrum)):
            together = np.rint(np.fft.irfft(first * others, units)).astype(np.int64)
            numbers += 2 * together.size
            for index in (int(together.argmin()), int(together.argmax())):
                counts.append(together.flat[index])
                whats.append((place, places(index // units), way, index % units))
    rare = rarity(np.array(counts), units, chance)
    worst = int(rare.argmin())
    place, other, way, lag = whats[worst]
    what = f"{_share(counts[worst], units, chance)} in {place} and in {other} {way} by {lag}"
    return Finding(float(rare[worst]), numbers, what)


def _alone(rarer: Kept, spectra: Spectra, chance: float) -> Iterator[Finding]:
    """Compare every mask with itself, shifted and mirrored: each alone, and the sum over all."""
    units = rarer.shape[-1]
    if units == 1:  # it has no other to be shifted to
        return
    columns = np.ascontiguousarray(rarer.reshape(-1, units).T)
    counts, trials, lags = [], [], []
    for lag, phase in product(range(1, units), (0, 1)):
        at = np.arange(units - lag)
        at = at[at // lag % 2 == phase]  # no unit is in two pairs
        if at.size:
            counts.append(np.count_nonzero(columns[at] & columns[at + lag], axis=0))
            trials.append(at.size)
            lags.append(lag)
    yield from _summed(np.array(counts), np.array(trials), chance, [f"in masks shifted by {lag}" for lag in lags])
    yield from _summed(
        *_mirrored(columns, spectra.reshape(-1, spectra.shape[-1])),
        chance,
        [f"in masks mirrored and shifted by {lag}" for lag in range(units)],
    )


def _summed(counts: Counts, trials: Counts, chance: float, whats: list[str]) -> Iterator[Finding]:
    """Yield the rarest of counts (pairings, masks) with ``trials`` (pairings,), and of their sums over all masks."""
    for numbers, of in ((counts, "one mask"), (counts.sum(axis=1, keepdims=True), "all masks")):
        tried = np.broadcast_to(trials[:, None] * (counts.shape[1] // numbers.shape[1]), numbers.shape)
        rare = rarity(numbers, tried, chance)
        row, column = divmod(int(rare.argmin()), numbers.shape[1])
        share = _share(numbers[row, column], int(tried[row, column]), chance)
        yield Finding(float(rare.min()), 2 * numbers.size, f"{share} {whats[row]}, of {of}")


def _mirrored(columns: Kept, spectra: Spectra) -> tuple[Counts, Counts]:
    """Return, for every shift of the mirrored masks (units, masks), how many pairs of units coincide, of how many.

    A pair is two different units that fall on each other; it coincides if both are of the rarer kind.
    """
    units = len(columns)
    itself = 2 * np.arange(units) % units  # the shift that puts a unit on itself
    fixed = np.zeros(columns.shape, np.int64)
    np.add.at(fixed, itself, columns)
    together = np.rint(np.fft.irfft(spectra**2, units)).astype(np.int64).T
    return (together - fixed) // 2, (units - np.bincount(itself, minlength=units)) // 2


def _pooled(shape: tuple[int, ...], spectra: Spectra, chance: float) -> Iterator[Finding]:
    """Sum over pairs of masks that lie equally far apart; no mask is in two pairs."""
    sums: dict[int, list[tuple[str, Spectra]]] = {}
    for offset, phase in product(_offsets(shape[:-1]), (0, 1)):
        first, second = _halves(spectra, offset, phase)
        size = first.size // spectra.shape[-1]
        for way, turned in (("", first.conj()), (" and mirrored", first)):
            total = (turned * second).reshape(-1, spectra.shape[-1]).sum(axis=0)
            sums.setdefault(size, []).append((f"in masks that are {_apart(offset)} apart{way}", total))
    for size, totals in sums.items():
        if size > 1:
            together = np.rint(np.fft.irfft(np.array([total for _, total in totals]), shape[-1])).astype(np.int64)
            yield from _extreme(together, size * shape[-1], chance, [of for of, _ in totals])


def _permuted(kept: Kept, chance: float) -> Iterator[Finding]:
    """Count, among pairs of masks equally far apart, those that keep equally many units, as permuted masks do."""
    units, counts = kept.shape[-1], kept.sum(axis=-1)
    for offset, phase in product(_offsets(counts.shape), (0, 1)):
        one, other = _halves(counts, offset, phase)
        if one.size > 1:
            yield _equally_many(one, other, units, chance, f"in masks that are {_apart(offset)} apart")


def _extreme(together: Counts, trials: int, chance: float, whats: list[str]) -> Iterator[Finding]:
    """Yield the smallest and the largest of counts (pairings, lags), each of so many trials."""
    for index in (int(together.argmin()), int(together.argmax())):
        row, lag = divmod(index, together.shape[1])
        count = together[row, lag]
        what = f"{_share(count, trials, chance)} {whats[row]}, shifted by {lag}"
        yield Finding(float(rarity(count, trials, chance)), together.size, what)


def _offsets(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Return all offsets between two masks of an array (draws, layers, images), each in one direction only."""
    nothing = (0,) * len(shape)
    return (offset for offset in product(*(range(1 - size, size) for size in shape)) if offset > nothing)


def _halves(array: NDArray[Any], offset: tuple[int, ...], phase: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first and the second masks of every other pair that lies ``offset`` apart.

    Every other means along the first axis in which they differ, so that no mask is in two pairs.
    """
    axis, step = next((axis, step) for axis, step in enumerate(offset) if step)
    one, other = (
        array[tuple(slice(max(-sign * step, 0), -max(sign * step, 0) or None) for step in offset)] for sign in (1, -1)
    )
    every_other = np.flatnonzero(np.arange(one.shape[axis]) // step % 2 == phase)
    return one.take(every_other, axis), other.take(every_other, axis)


def _equally_many(one: Counts, other: Counts, units: int, keeps: float, of: str) -> Finding:
    """Count pairs of masks that keep equally many units, and pairs of which one keeps as many as the other drops."""
    alike, opposite = ties(units, keeps)
    counts = np.array([np.count_nonzero(one == other), np.count_nonzero(one + other == units)])
    rare = [float(rarity(count, one.size, chance)) for count, chance in zip(counts, (alike, opposite), strict=True)]
    what = f"{counts[0]} of {one.size} pairs keep equally many units, {counts[1]} as many as the other drops, {of}"
    return Finding(min(rare), 4, what)


def _apart(offset: tuple[int, ...]) -> str:
    return " and ".join(f"{step} {axis}s" for step, axis in zip(offset, AXES, strict=False) if step)


def _place(flags: Kept) -> _Place:
    def place(index: int) -> str:
        where = np.unravel_index(index, flags.shape[:-1])
        return ", ".join(f"{axis} {number}" for axis, number in zip(AXES, where, strict=False))

    return place


def _share(count: Any, trials: int, chance: float, done: str = "coincide") -> str:
    return f"{count} of {trials} units {done}, wanted about {trials * chance:.0f},"
