"""The comparator: what it refuses, what it names, and that its limits lie between the formats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sabotage import coarse

from vgg import Block, Conv, Head, Spec
from vgg.conformance.cases import CASES
from vgg.core import oracle
from vgg.core.comparator import (
    FLOAT64_LIMIT,
    ROUNDOFF,
    Verdict,
    compare,
    forward_limit,
    gradient_floors,
    gradient_limit,
)

Array = NDArray[np.float64]
LIMIT = 1e-3
CODED = {"TF32": 10, "bfloat16": 7}
"""Formats that a framework may slip in, and the bits they keep after the leading one; float32 keeps 23."""


def one(
    got: ArrayLike, wanted: ArrayLike, limit: float = LIMIT, dtype: str | None = None, floor: float = 0.0
) -> Verdict:
    """The verdict on a single array, ``x``."""
    return compare({"x": np.asarray(got)}, {"x": np.asarray(wanted)}, limit=limit, dtype=dtype, floors={"x": floor})


def some(seed: int = 0, size: int = 60) -> Array:
    return np.random.RandomState(seed).standard_normal((3, size // 3))


# What is refused before any error is measured


def test_equal_arrays_agree_without_error() -> None:
    assert compare({"a": some(), "b": some(1)}, {"a": some(), "b": some(1)}, limit=0.0) == Verdict(0.0, 0.0)


@pytest.mark.parametrize(
    ("got", "wanted", "reason"),
    [
        ("a", "abc", "names: missing ['b', 'c'], unexpected none"),
        ("abc", "b", "names: missing none, unexpected ['a', 'c']"),
        ("ac", "ab", "names: missing ['b'], unexpected ['c']"),
    ],
)
def test_names_that_are_missing_or_unexpected_are_listed(got: str, wanted: str, reason: str) -> None:
    verdict = compare(dict.fromkeys(got, some()), dict.fromkeys(wanted, some()), limit=LIMIT)
    assert verdict == Verdict(math.inf, LIMIT, "", reason)


def test_a_list_of_many_names_is_cut() -> None:
    verdict = compare({f"layer{i}": some() for i in range(1000)}, {"a": some()}, limit=LIMIT)
    assert verdict.reason.startswith("names: missing ['a'], unexpected ['layer0', 'layer1', 'layer10', ")
    assert len(verdict.reason) < 2100


@pytest.mark.parametrize("shape", [(60,), (20, 3), (1, 3, 20)])
def test_the_same_numbers_in_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    verdict = one(some().reshape(shape), some(), limit=math.inf)
    assert verdict == Verdict(math.inf, math.inf, "x", f"x: got shape {shape}, wanted (3, 20)")


def test_a_shape_that_would_broadcast_is_refused() -> None:
    assert one(np.ones(20), np.ones((3, 20)), limit=math.inf).reason == "x: got shape (20,), wanted (3, 20)"


def test_a_dtype_other_than_the_one_asked_for_is_refused() -> None:
    verdict = one(some().astype(np.float32), some(), limit=math.inf, dtype="float64")
    assert verdict == Verdict(math.inf, math.inf, "x", "x: got float32, wanted float64")


def test_any_dtype_will_do_where_none_is_asked_for() -> None:
    assert one(some().astype(np.float32), some()).ok


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_single_value_that_is_not_finite_is_refused(value: float) -> None:
    got = some()
    got[1, 2] = value
    assert one(got, some(), limit=math.inf).reason == "x: 1 of 60 values are not finite"


def test_values_that_are_not_finite_on_both_sides_are_refused() -> None:
    assert not one([math.nan, 1.0], [math.nan, 1.0]).ok


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_an_output_without_variation_is_refused_whatever_the_limit(value: float) -> None:
    verdict = one(np.full((3, 20), value), some(), limit=math.inf)
    assert verdict == Verdict(math.inf, math.inf, "x", f"x: every value is {value}, wanted values that differ")


def test_an_output_without_variation_is_well_where_it_is_wanted() -> None:
    assert one(np.full(4, 0.5), np.full(4, 0.5), limit=0.0).ok


def test_a_single_number_need_not_vary() -> None:
    assert one([2.0], [2.0], limit=0.0).ok


# The error


def test_the_error_is_the_relative_2_norm() -> None:
    verdict = one([3.0, 4.5], [3.0, 4.0], limit=0.2)
    assert verdict == Verdict(0.5 / 5.0, 0.2, "x")


@pytest.mark.parametrize(("factor", "ok"), [(0.99, True), (1.01, False)])
def test_an_error_is_well_just_under_the_limit_and_not_just_over_it(factor: float, ok: bool) -> None:
    assert one(some() * (1 + factor * LIMIT), some()).ok is ok


def test_an_error_equal_to_its_limit_is_well() -> None:
    assert one([3.0, 4.5], [3.0, 4.0], limit=0.1).ok


def test_an_error_over_its_limit_is_told_with_both_numbers() -> None:
    verdict = one(some() * 1.5, some())
    assert verdict.reason == "x: error 5.0e-01 is over its limit 1.0e-03"
    assert verdict.where == "x"


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_an_array_does_not_matter(scale: float) -> None:
    assert one(some() * scale * 1.5, some() * scale).error == pytest.approx(0.5)


def test_the_difference_is_taken_in_float64() -> None:
    wanted = np.array([1.0, 2.0])
    got = wanted.astype(np.float32)
    assert one(got, wanted + 1e-9, limit=1.0).error == pytest.approx(1e-9 * math.sqrt(2 / 5), rel=1e-6)


def test_two_swapped_images_are_an_error() -> None:
    assert not one(some()[[1, 0, 2]], some()).ok


def test_the_first_name_to_diverge_is_reported_in_the_order_of_the_wanted() -> None:
    wanted = {"conv1": some(0), "relu1": some(1), "pool": some(2), "fc1": some(3)}
    got = {"fc1": some(3) * 9, "pool": some(2) * 2, "relu1": some(1) * 1.1, "conv1": some(0)}
    assert compare(got, wanted, limit=LIMIT).where == "relu1"


def test_the_worst_error_is_reported_where_all_is_well() -> None:
    wanted = {"a": some(0), "b": some(1), "c": some(2)}
    got = {"a": some(0) * 1.0001, "b": some(1) * 1.0007, "c": some(2) * 1.0003}
    verdict = compare(got, wanted, limit=LIMIT)
    assert (verdict.ok, verdict.where) == (True, "b")
    assert verdict.error == pytest.approx(7e-4)


def test_a_verdict_reads_as_its_reason_or_as_its_error_beside_its_limit() -> None:
    assert str(one(some() * 1.5, some())) == "x: error 5.0e-01 is over its limit 1.0e-03"
    assert str(Verdict(2.5e-7, 1e-6)) == "2.5e-07 of 1.0e-06"


# Zeros and floors


def test_zeros_that_are_wanted_and_got_agree() -> None:
    assert one(np.zeros(3), np.zeros(3), limit=0.0) == Verdict(0.0, 0.0)


def test_anything_where_zeros_are_wanted_is_an_infinite_error() -> None:
    assert one([0.0, 1e-30], np.zeros(2)).error == math.inf


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
def test_arrays_without_values_agree(shape: tuple[int, ...]) -> None:
    assert one(np.zeros(shape), np.zeros(shape), limit=0.0).ok


def test_a_floor_stands_in_for_a_norm_that_is_smaller() -> None:
    verdict = one([3e-9, 4e-9], np.zeros(2), floor=2.0)
    assert verdict.ok
    assert verdict.error == pytest.approx(2.5e-9)


def test_a_floor_does_not_soften_a_norm_that_is_larger() -> None:
    assert one(some() * 1.5, some(), floor=1e-3).error == pytest.approx(0.5)


def test_a_floor_of_one_array_is_not_that_of_another() -> None:
    got, wanted = {"a": np.array([1e-9, 0.0]), "b": some()}, {"a": np.zeros(2), "b": some()}
    assert compare(got, wanted, limit=LIMIT, floors={"b": 1.0}).where == "a"


def test_the_floor_of_a_bias_is_its_weights_gradient_per_column() -> None:
    weight = some(size=24).reshape(4, 3, 2, 1)
    floors = gradient_floors({"conv1.weight": weight, "conv1.bias": np.zeros(4), "bn1.running_mean": np.zeros(4)})
    assert floors == {"conv1.bias": pytest.approx(np.linalg.norm(weight) / math.sqrt(6))}


def test_the_floor_of_a_shift_is_its_scales_gradient() -> None:
    assert gradient_floors({"bn1.weight": np.array([3.0, 4.0]), "bn1.bias": np.zeros(2)}) == {"bn1.bias": 5.0}


def test_the_noise_in_a_gradient_that_batch_norm_takes_away_is_judged_by_its_floor() -> None:
    grads, limit, floors = _judged("batch_norm")
    name = "block1.conv1.bias"
    noisy = {name: grads[name] + 1e-6 * floors[name] / math.sqrt(5)}
    assert not compare(noisy, {name: grads[name]}, limit=limit).ok
    assert compare(noisy, {name: grads[name]}, limit=limit, floors=floors).error == pytest.approx(1e-6)


@pytest.mark.parametrize("name", ["block1.conv1.bias", "block3.conv2.bias", "fc1.bias", "fc3.bias"])
def test_a_gradient_that_is_wrongly_zero_is_an_error_for_all_its_floor(name: str) -> None:
    grads, limit, floors = _judged("plain")
    assert not compare({name: np.zeros_like(grads[name])}, {name: grads[name]}, limit=limit, floors=floors).ok


def _judged(name: str) -> tuple[dict[str, Array], float, dict[str, float]]:
    """Gradients of a case in train mode without dropout, float32's limit for them, and their floors."""
    case = CASES[name]
    spec, x, y = case.spec.modified(dropout=0), case.images("float64"), case.labels()
    _, grads, _ = oracle.loss_and_grads(spec, case.params("float64"), x, y, oracle.Mode(train=True))
    return grads, gradient_limit(spec, "float32", case.batch), gradient_floors(grads)


# The limits


def deep(convs: int, width: int = 8) -> Spec:
    return Spec((Block((Conv(width),) * convs),), input_shape=(3, 12, 10), classes=5, head=Head((6,)))


def test_float64_has_one_limit_for_all_nets() -> None:
    for case in CASES.values():
        assert forward_limit(case.spec, "float64") == FLOAT64_LIMIT == gradient_limit(case.spec, "float64", case.batch)


def test_a_limit_is_five_roundoffs_for_the_root_of_every_sums_length() -> None:
    spec = Spec((Block((Conv(4),)),), input_shape=(3, 6, 8), classes=5, head=Head((7,)))
    lengths = [3 * 9, 1, 1, 4 * 3 * 4, 1, 7]  # conv, ReLU, pool, fc1, ReLU, fc2
    assert forward_limit(spec, "float32") == pytest.approx(5 * 2**-24 * sum(map(math.sqrt, lengths)))


def test_a_gradients_limit_adds_the_way_back_and_the_sum_over_batch_and_positions() -> None:
    spec = Spec((Block((Conv(4),)),), input_shape=(3, 6, 8), classes=5, head=Head((7,)))
    wanted = 2 * forward_limit(spec, "float32") + 5 * 2**-24 * math.sqrt(10 * 6 * 8)
    assert gradient_limit(spec, "float32", 10) == pytest.approx(wanted)


@pytest.mark.parametrize(("dtype", "bits"), [("bf16", 8), ("fp16", 11), ("tf32", 11)])
def test_a_narrow_formats_limit_is_one_rounding_a_layer_for_its_sums_are_float32s(dtype: str, bits: int) -> None:
    layers = 2 * 4 + 1 + 3  # convolutions and dense layers with their ReLUs, a pool
    assert gradient_limit(deep(4), dtype, 3) == pytest.approx(5 * 2.0**-bits * math.sqrt(2 * layers))
    assert gradient_limit(deep(4), dtype, 3) > 10 * gradient_limit(deep(4), "float32", 3)


def test_limits_grow_with_depth() -> None:
    forward = [forward_limit(deep(convs), "float32") for convs in (1, 2, 4, 8)]
    backward = [gradient_limit(deep(convs), "float32", 3) for convs in (1, 2, 4, 8)]
    assert forward == sorted(set(forward))
    assert backward == sorted(set(backward))


def test_limits_grow_with_width_and_batch() -> None:
    assert forward_limit(deep(2, width=16), "float32") > forward_limit(deep(2), "float32")
    assert gradient_limit(deep(2), "float32", 30) > gradient_limit(deep(2), "float32", 3)


@pytest.mark.parametrize("name", CASES)
def test_an_honest_float32_stays_under_the_limit(name: str) -> None:
    verdict = _forward_in(name, 23)
    assert verdict.ok
    assert verdict.error > ROUNDOFF["float32"] / 10


@pytest.mark.parametrize("code", CODED)
@pytest.mark.parametrize("name", CASES)
def test_a_coarser_format_is_far_over_the_limit(name: str, code: str) -> None:
    verdict = _forward_in(name, CODED[code])
    assert not verdict.ok
    assert verdict.error > 3 * verdict.limit


def _forward_in(name: str, bits: int) -> Verdict:
    """The logits of a net whose weights and images have that many bits: what a matrix unit of that format reads."""
    case = CASES[name]
    exact = {n: a.astype(np.float64) for n, a in case.params("float64").items()}
    near = {n: coarse(a, bits) for n, a in exact.items()}
    x = case.images("float64").astype(np.float64)
    wanted, got = oracle.forward(case.spec, exact, x), oracle.forward(case.spec, near, coarse(x, bits))
    return compare({"logits": got.logits}, {"logits": wanted.logits}, limit=forward_limit(case.spec, "float32"))
