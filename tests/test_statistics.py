"""The verdicts on pairs of backends: against published examples, against SciPy, and by simulation."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vgg.runs import statistics
from vgg.runs.statistics import ALIKE, DIFFERENT, ERROR, POWER, TOO_FEW, judged, pairs

SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
"""Student (1908), "The probable error of a mean": hours of sleep that ten patients gained from two drugs."""
SHOES = (
    [13.2, 8.2, 10.9, 14.3, 10.7, 6.6, 9.5, 10.8, 8.8, 13.3],
    [14.0, 8.8, 11.2, 14.2, 11.8, 6.4, 9.8, 11.3, 9.3, 13.6],
)
"""Box, Hunter & Hunter (1978), "Statistics for Experimenters": wear of two soles, one of each on ten boys."""


def summary(value: float) -> dict[str, float]:
    return dict.fromkeys(statistics.QUANTITIES, value)


def verdict(one: Sequence[float], two: Sequence[float], quantity: str = "last_loss") -> dict[str, Any]:
    """The verdict on two backends, whose runs have the seeds 0, 1, ..."""
    runs = {
        name: {str(i): summary(value) for i, value in enumerate(values)} for name, values in (("a", one), ("b", two))
    }
    return next(pair for pair in pairs(runs) if pair["quantity"] == quantity)


@pytest.mark.parametrize(
    ("data", "difference", "interval"),
    [(SLEEP, -1.58, (-2.4598858, -0.7001142)), (SHOES, -0.41, (-0.6869539, -0.1330461))],
    ids=["sleep", "shoes"],
)
def test_a_published_paired_t_test_comes_out(
    data: tuple[list[float], list[float]], difference: float, interval: tuple[float, float]
) -> None:
    """The numbers are those that R's ``t.test(paired = TRUE)`` prints, as its books and manuals show them."""
    result = judged(*data)
    assert result["difference"] == pytest.approx(difference)
    assert result["interval"] == pytest.approx(interval, abs=1e-7)
    assert (result["count"], result["word"]) == (10, DIFFERENT)


def test_a_published_power_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dalgaard, "Introductory Statistics with R", 8.3: 19.96892 pairs see 10 with deviation 14.14214 at power 0.85."""
    monkeypatch.setattr(statistics, "POWER", 0.85)
    statistics.detectable.cache_clear()
    seen = [statistics.detectable(count, 1) * 14.14214 / math.sqrt(count) for count in (19, 20)]
    statistics.detectable.cache_clear()
    assert seen[0] > 10 > seen[1]
    assert seen[1] == pytest.approx(10, rel=0.001)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
@pytest.mark.parametrize("couples", [1, 6, 45])
def test_an_interval_is_scipys_at_the_corrected_level(count: int, couples: int) -> None:
    one, two = np.random.default_rng([count, couples]).normal(size=(2, count))
    wanted = stats.ttest_rel(one, two).confidence_interval(1 - ERROR / couples)
    assert judged(one.tolist(), two.tolist(), couples)["interval"] == pytest.approx(list(wanted), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
@pytest.mark.parametrize("couples", [1, 6, 45, 499_500])
def test_the_visible_difference_has_the_power_that_it_names(count: int, couples: int) -> None:
    """SciPy's noncentral t as a witness, or, where that takes minutes, an integral over the deviation."""
    radius, shift = statistics.critical(count, couples), statistics.detectable(count, couples)
    shares = (np.arange(20_000) + 0.5) / 20_000
    deviations = np.sqrt(stats.chi2.ppf(shares, count - 1) / (count - 1))
    assert stats.norm.cdf(shift - radius * deviations).mean() == pytest.approx(POWER, abs=2e-3)
    if radius < 100:
        assert stats.nct.sf(radius, count - 1, shift) == pytest.approx(POWER, abs=1e-5)


def test_visible_is_in_the_unit_of_the_difference() -> None:
    result = judged(*SLEEP)
    one, two = ([10 * value for value in values] for values in SLEEP)
    ten_times = judged(one, two)
    error = stats.sem(np.subtract(*SLEEP))
    assert result["visible"] == pytest.approx(statistics.detectable(10, 1) * error)
    assert ten_times["visible"] == pytest.approx(10 * result["visible"])


def test_a_pair_is_judged_more_strictly_among_many() -> None:
    one, two = SHOES
    assert judged(one, two, 5)["word"] == DIFFERENT
    assert judged(one, two, 6)["word"] == ALIKE  # its p is 0.0085


def test_speeds_are_compared_by_ratios() -> None:
    """Each speed is that of a machine with another clock; the first backend is about 10 % faster on each."""
    clocks, noise = [1.0, 10.0, 100.0, 0.5, 3.0], [0.001, -0.001, 0.002, 0.0, -0.002]
    one = [1.1 * 100 * clock * math.exp(error) for clock, error in zip(clocks, noise, strict=True)]
    two = [100 * clock for clock in clocks]
    ratios = verdict(one, two, "images_per_second")
    assert ratios["word"] == DIFFERENT
    assert ratios["ratio"]["difference"] == pytest.approx(0.1, abs=1e-9)
    low, high = ratios["ratio"]["interval"]
    assert 0.097 < low < 0.1 < high < 0.103
    assert ratios["difference"] == pytest.approx(stats.gmean(one) - stats.gmean(two))
    assert ratios["interval"] == pytest.approx([low * stats.gmean(two), high * stats.gmean(two)])
    assert ratios["visible"] == pytest.approx(ratios["ratio"]["visible"] * stats.gmean(two))
    assert verdict(one, two, "last_loss")["word"] == ALIKE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_what_is_not_finite_counts_as_missing(value: float) -> None:
    one, two = [1.0, value, 3.0, 4.5], [2.0, 2.5, value, 5.0]
    assert verdict(one, two) == verdict([1.0, 4.5], [2.0, 5.0])
    assert statistics.statistics({"0": summary(value), "1": summary(2.0)})["last_loss"] == {
        "count": 1,
        "mean": 2.0,
        "deviation": None,
    }


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_speed_without_a_logarithm_counts_as_missing(value: float) -> None:
    assert verdict([1.0, value], [1.0, 1.0], "images_per_second")["count"] == 1


def test_only_common_seeds_are_paired() -> None:
    one = {"0": summary(1.0), "1": summary(2.0), "3": summary(4.0)}
    two = {"3": summary(3.0), "0": summary(0.5), "2": summary(7.0)}
    result = pairs({"a": one, "b": two})[0]
    assert (result["count"], result["difference"]) == (2, 0.75)


def test_a_pair_without_a_common_seed_has_no_difference() -> None:
    result = pairs({"a": {"0": summary(1.0)}, "b": {}})[0]
    assert result == {
        "backends": ["a", "b"],
        "quantity": "test_accuracy",
        "count": 0,
        "word": TOO_FEW,
        "difference": None,
        "interval": None,
        "visible": None,
    }


def test_a_pair_without_a_common_seed_has_no_ratio() -> None:
    nothing = {"difference": None, "interval": None, "visible": None}
    assert judged([], [], relative=True) == {"count": 0, "word": TOO_FEW, **nothing, "ratio": nothing}


def test_one_run_is_too_few() -> None:
    result = judged([0.9], [0.8])
    assert (result["word"], result["interval"], result["visible"]) == (TOO_FEW, None, None)
    assert result["difference"] == pytest.approx(0.1)


def test_accuracies_that_are_equal_in_every_run_are_not_distinguishable() -> None:
    values = [0.9, 0.95, 0.925]
    result = judged(values, values, 6)
    assert (result["word"], result["difference"], result["interval"], result["visible"]) == (ALIKE, 0, [0, 0], 0)


@pytest.mark.parametrize("relative", [False, True])
def test_equal_up_to_rounding_is_not_the_same(relative: bool) -> None:
    """The logarithms of the two large values are one number, and so are not what tells them apart."""
    values = [0.9, 823.0, 0.1]
    result = judged(values, [0.9, math.nextafter(823.0, 900), 0.1], relative=relative)
    assert result["word"] == ALIKE
    low, high = (result["ratio"] if relative else result)["interval"]
    assert low < 0 < high
    assert high < 1e-12
    assert judged(values, values, relative=relative)["interval"] == [0, 0]


@pytest.mark.parametrize(("count", "word"), [(2, TOO_FEW), (7, TOO_FEW), (8, DIFFERENT), (20, DIFFERENT)])
def test_one_image_more_in_every_run_is_chance_in_few_runs(count: int, word: str) -> None:
    """Six pairs: 2 ** -7 is just below 0.05 / 6. The differences are equal but for the rounding of float64."""
    rights = [300 + 7 * i for i in range(count)]
    one, two = ([right / 997 for right in rights], [(right - 1) / 997 for right in rights])
    assert count == 2 or len({a - b for a, b in zip(one, two, strict=True)}) > 1
    result = judged(one, two, 6)
    assert result["word"] == word
    assert (result["interval"] is None) is (word == TOO_FEW)


def test_equal_ratios_are_equal_but_for_rounding() -> None:
    result = judged([3.3, 330.3, 0.07], [3.0, 330.3 / 1.1, 0.07 / 1.1], relative=True)
    assert result["word"] == TOO_FEW
    assert result["ratio"]["difference"] == pytest.approx(0.1)


@pytest.mark.parametrize("relative", [False, True])
def test_a_verdict_is_json_whatever_the_values(relative: bool) -> None:
    extremes = [1e-149, 1e149, 1.0, 1e-100]
    json.dumps(judged(extremes, extremes[::-1], 6, relative=relative), allow_nan=False)


# Simulations


def simulated(backends: int, seeds: int, trials: int, shift: float = 0.0) -> list[list[str]]:
    """The words on accuracies of ``backends`` that share what a seed does; the first is better by ``shift``."""
    random, words = np.random.default_rng([backends, seeds]), []
    couples = backends * (backends - 1) // 2
    for _ in range(trials):
        values = 0.9 + 0.05 * random.normal(size=seeds) + 0.01 / math.sqrt(2) * random.normal(size=(backends, seeds))
        values[0] += shift * 0.01
        rows = values.tolist()
        words.append([judged(one, two, couples)["word"] for i, one in enumerate(rows) for two in rows[i + 1 :]])
    return words


def test_two_equal_backends_are_called_different_at_the_stated_rate() -> None:
    wrong = sum(DIFFERENT in words for words in simulated(2, 5, 2000))
    low, high = stats.binom.interval(0.999, 2000, ERROR)
    assert low <= wrong <= high


@pytest.mark.parametrize("seeds", [3, 10])
def test_any_of_four_equal_backends_is_called_different_at_most_at_the_stated_rate(seeds: int) -> None:
    """Bonferroni's bound is not reached, because pairs share backends; half of it is."""
    wrong = sum(DIFFERENT in words for words in simulated(4, seeds, 800))
    assert stats.binom.ppf(0.0005, 800, ERROR / 2) <= wrong <= stats.binom.ppf(0.9995, 800, ERROR)


@pytest.mark.parametrize(("backends", "seeds"), [(2, 3), (2, 10), (4, 5)])
def test_a_visible_difference_is_seen_with_the_stated_power(backends: int, seeds: int) -> None:
    shift = statistics.detectable(seeds, backends * (backends - 1) // 2) / math.sqrt(seeds)
    seen = sum(words[0] == DIFFERENT for words in simulated(backends, seeds, 1000, shift))
    low, high = stats.binom.interval(0.999, 1000, POWER)
    assert low <= seen <= high


def test_accuracies_of_few_images_are_not_called_different_more_often() -> None:
    """Of 50 test images, some two are decided by chance: many differences are equal, and some of them all."""
    random = np.random.default_rng(0)
    rights = 46 + random.binomial(4, 0.5, size=(3000, 2, 4))
    wrong = sum(judged(*(row / 50).tolist())["word"] == DIFFERENT for row in rights)
    assert wrong <= stats.binom.ppf(0.9995, 3000, ERROR)


def test_one_seed_needs_no_scipy() -> None:
    code = (
        "import sys; from vgg.runs import statistics as s; one = dict.fromkeys(s.QUANTITIES, 1.0);"
        "s.pairs({'a': {'0': one}, 'b': {'0': one}}); print('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
