"""The test of independence: its false alarms are as rare as it says, and no kind of dependence escapes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgg.conformance.binomial import dispersion, rarity
from vgg.conformance.independence import FALSE_ALARM, LIMIT, Kept, independence, unrelated

RATES = (0.5, 0.25, 0.3, 0.1, 0.9)
SHAPE = (3, 3, 12, 384)


def drawn(rate: float, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Kept:
    """Independent units."""
    kept: Kept = np.random.default_rng([seed, round(100 * rate)]).random(shape) >= rate
    return kept


def binomial(trials: int, chance: float) -> list[float]:
    return [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]


@pytest.mark.parametrize(("trials", "chance"), [*product((1, 2, 7, 40), (0.01, 0.09, 0.25, 0.5, 0.9))])
def test_a_rarity_is_just_above_that_of_the_tail(trials: int, chance: float) -> None:
    terms, counts = binomial(trials, chance), np.arange(trials + 1)
    tails = [sum(terms[k:] if k >= trials * chance else terms[: k + 1]) for k in counts]
    bounds = 10 ** rarity(counts, trials, chance)
    assert all(bounds >= np.multiply(tails, 1 - 1e-9))
    far = np.abs(counts - trials * chance) > 2 * math.sqrt(trials * chance * (1 - chance)) + 1
    assert all(bounds[far] <= 2 * np.array(tails)[far])


@pytest.mark.parametrize(("trials", "chance"), [*product((3, 6), (0.1, 0.5, 0.7))])
def test_a_dispersion_is_never_rarer_than_it_says(trials: int, chance: float) -> None:
    terms, many = binomial(trials, chance), [*product(range(trials + 1), repeat=3)]
    chances = np.array([math.prod(terms[k] for k in counts) for counts in many])
    squares = np.square(np.array(many) - trials * chance).sum(axis=1)
    for counts, square in zip(many, squares, strict=True):
        tails = chances[squares <= square + 1e-9].sum(), chances[squares >= square - 1e-9].sum()
        assert 10 ** dispersion(np.array(counts), trials, chance) >= min(tails) * (1 - 1e-9)


@pytest.mark.parametrize("rate", RATES)
def test_independent_units_are_as_rarely_refused_as_it_says(rate: float) -> None:
    """At a limit that one judgement in ten may exceed, so that some do come near it."""
    errors = [independence(drawn(rate, (2, 2, 3, 24), seed), rate).error for seed in range(200)]
    assert np.mean(np.array(errors) >= 1) <= 0.1
    assert max(errors) > 0


@pytest.mark.parametrize("rate", RATES)
def test_independent_units_pass(rate: float) -> None:
    verdict = independence(drawn(rate), rate)
    assert verdict.ok
    assert verdict.error < 4


def test_the_limit_is_the_rate_of_false_alarms() -> None:
    assert float(LIMIT) == pytest.approx(-math.log10(FALSE_ALARM))


def copied(axis: int, source: int, target: int) -> Callable[[Kept], Kept]:
    def change(kept: Kept) -> Kept:
        at: list[slice | int] = [slice(None)] * 4
        fro = at.copy()
        at[axis], fro[axis] = target, source
        kept[tuple(at)] = kept[tuple(fro)]
        return kept

    return change


def over_units(change: Callable[[Kept], Kept]) -> Callable[[Kept], Kept]:
    """The last layer's masks are the first one's, changed."""

    def changed(kept: Kept) -> Kept:
        kept[:, 2] = change(kept[:, 0])
        return kept

    return changed


def permuted(masks: Kept) -> Kept:
    return masks[..., np.random.default_rng(0).permutation(masks.shape[-1])]


def partly(masks: Kept) -> Kept:
    """One unit in four."""
    return np.where(np.arange(masks.shape[-1]) % 4 == 0, masks, drawn(0.5, masks.shape, 1))


DEPENDENT: dict[str, Callable[[Kept], Kept]] = {
    "draws 0 and 2": copied(0, 0, 2),
    "layers 0 and 2": copied(1, 0, 2),
    "images 0 and 4": copied(2, 0, 4),
    "images 3 and 11": copied(2, 3, 11),
    "shifted": over_units(lambda masks: np.roll(masks, 5, axis=-1)),
    "mirrored": over_units(lambda masks: masks[..., ::-1]),
    "permuted": over_units(permuted),
    "other images": over_units(lambda masks: np.roll(masks, 4, axis=1)),
    "shifted from image to image": lambda kept: np.stack([np.roll(kept[:, :, 0], n, axis=-1) for n in range(12)], 2),
    "period 16": lambda kept: kept[..., np.arange(384) % 16],
    "period 64": lambda kept: kept[..., np.arange(384) % 64],
    "pairs of units": lambda kept: np.repeat(kept, 2, axis=-1)[..., :384],
    "symmetric": lambda kept: kept[..., np.minimum(np.arange(384), np.arange(384)[::-1])],
    "nothing dropped": np.ones_like,
    "nothing kept": np.zeros_like,
    "one layer not dropped": lambda kept: kept | (np.arange(3) == 1)[:, None, None],
    "one image not dropped": lambda kept: kept | (np.arange(12) == 7)[:, None],
}


@pytest.mark.parametrize(("kind", "rate"), [*product(DEPENDENT, RATES)])
def test_units_that_depend_on_others_are_refused(kind: str, rate: float) -> None:
    assert not independence(DEPENDENT[kind](drawn(rate)), rate).ok


@pytest.mark.parametrize("change", [partly, np.logical_not], ids=["a quarter", "complementary"])
def test_units_that_depend_on_others_at_a_half_are_refused(change: Callable[[Kept], Kept]) -> None:
    assert not independence(over_units(change)(drawn(0.5)), 0.5).ok


@pytest.mark.parametrize(("rate", "other"), [(0.3, 0.25), (0.9, 0.875), (0.5, 0.48), (0.1, 0.125), (0.25, 0.3)])
def test_another_rate_is_refused(rate: float, other: float) -> None:
    assert not independence(drawn(other), rate).ok


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("axis", [2, 3], ids=["images", "units"])
def test_masks_that_keep_exactly_their_share_are_refused(rate: float, axis: int) -> None:
    ranks = np.random.default_rng(0).random(SHAPE).argsort(axis).argsort(axis)
    assert not independence(ranks >= round(rate * SHAPE[axis]), rate).ok


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_a_unit_that_never_changes_is_refused(rate: float) -> None:
    kept = drawn(rate)
    kept[..., 17] = True
    assert not independence(kept, rate).ok


@settings(max_examples=40, derandomize=True, database=None, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    places=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 4)), min_size=2, unique=True),
    lag=st.integers(0, 511),
    mirrored=st.booleans(),
)
def test_any_two_masks_that_are_alike_are_refused(
    rate: float, places: list[tuple[int, ...]], lag: int, *, mirrored: bool
) -> None:
    kept = drawn(rate, (2, 2, 5, 512))
    source = kept[places[0]]
    kept[places[1]] = np.roll(source[::-1] if mirrored else source, lag)
    verdict = independence(kept, rate)
    assert not verdict.ok
    assert "once in" in verdict.reason


@pytest.mark.parametrize("rates", [(0.5, 0.3), (0.25, 0.9), (0.1, 0.1)])
def test_two_sets_are_refused_if_they_come_from_the_same_numbers(rates: tuple[float, float]) -> None:
    numbers = np.random.default_rng(0).random(SHAPE)
    one, other = numbers >= rates[0], np.random.default_rng(1).random(SHAPE) >= rates[1]
    assert unrelated(one, other, rates).ok
    assert not unrelated(one, numbers[:2, :1, :9] >= rates[1], rates).ok


def test_two_sets_are_refused_if_a_step_of_one_is_another_step_of_the_other() -> None:
    one, other = drawn(0.5), drawn(0.5, seed=1)
    other[0, :, :, :] = one[1]
    assert not unrelated(one, other[..., :300], (0.5, 0.5)).ok
