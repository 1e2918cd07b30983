"""Faults of dropout masks: units, images, layers, steps and seeds that do not drop for themselves, or at the rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import Sabotage, around, caught_by

from vgg.process.client import Array
from vgg.process.wire import Arrays

Change = Callable[[Arrays, Any, tuple[int, ...]], Arrays]
"""From the masks, the model and the seed, which of a learner are two numbers, the masks."""


def _drawn(b: Any, change: Change, *, learner: bool = False, model: bool = False) -> None:
    """Change the masks of learners, of models outside them, or of both."""

    def mode(original: Any, net: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        drawn = original(net, *a, seed=seed, **k)
        touched = learner if len(seed) > 1 else model
        return drawn._replace(masks=change(drawn.masks, net, seed)) if touched and drawn.masks else drawn

    around(b, "_mode", mode)


def _each(change: Callable[[Array], Array]) -> Change:
    return lambda masks, net, seed: {name: change(mask) for name, mask in masks.items()}


def _images(mask: Array, source: Callable[[int], int]) -> Array:
    """Image n gets the mask that was drawn for image ``source(n)``."""
    return mask[[source(n) for n in range(len(mask))]]


def _seeded(b: Any, seed: Callable[[int, int], tuple[int, int]]) -> None:
    """Change what a learner's masks are drawn from: seed and step."""
    around(b, "_mode", lambda o, *a, seed=(0,), _to=seed, **k: o(*a, seed=_to(*seed) if len(seed) > 1 else seed, **k))


def _rated(b: Any, change: Callable[[float], float], *, learner: bool, where: Callable[[Any], bool] = bool) -> None:
    def mode(original: Any, net: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        head = net.spec.head
        if (len(seed) > 1) == learner and head.dropout and where(net):
            net = replace(net, spec=replace(net.spec, head=replace(head, dropout=change(head.dropout))))
        return original(net, *a, seed=seed, **k)

    around(b, "_mode", mode)


def _third(change: Callable[[Array, Array, Array], Array]) -> Change:
    """Change the third layer's mask, given those of the first, the second and the third, where all are as wide."""

    def changed(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        alike = len(masks) == 3 and len({mask.shape for mask in masks.values()}) == 1
        return {**masks, [*masks][2]: change(*masks.values())} if alike else masks

    return changed


def _scale(mask: Array) -> float:
    return float(mask.max())


# Images


@caught_by("masking", alone=True)
def images_0_2_and_4_share_a_mask(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: 0 if n in (2, 4) else n)), learner=True)


@caught_by("modes", alone=True)
def images_0_2_and_4_share_a_mask_outside_the_learner(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: 0 if n in (2, 4) else n)), model=True)


@caught_by("masking", alone=True)
def one_mask_for_all_images_of_more_than_eight(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: 0) if len(mask) > 8 else mask), learner=True)


@caught_by("masking", alone=True)
def one_mask_for_all_images_of_more_than_32(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: 0) if len(mask) > 32 else mask), learner=True)


@caught_by("masking", alone=True)
def the_second_half_of_a_batch_repeats_the_first(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: n % max(len(mask) // 2, 1))), learner=True)


@caught_by("masking", alone=True)
def every_eighth_image_has_one_mask(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: _images(mask, lambda n: n % 8)), learner=True)


@caught_by("modes", alone=True)
def the_mask_of_each_image_is_shifted_by_one_unit(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.stack([np.roll(mask[0], n) for n in range(len(mask))])), model=True)


@caught_by("masking", alone=True)
def the_mask_of_each_image_is_shifted_by_one_unit_in_the_learner(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.stack([np.roll(mask[0], n) for n in range(len(mask))])), learner=True)


@caught_by("masking", alone=True)
def the_last_image_is_not_dropped(b: Any, r: Any) -> None:
    """Of batches of more than one."""

    def kept(mask: Array) -> Array:
        last = np.arange(len(mask))[:, None] == len(mask) - 1
        return np.where(last & (len(mask) > 1), 1.0, mask)

    _drawn(b, _each(kept), learner=True)


@caught_by("modes", alone=True)
def images_keep_complementary_units(b: Any, r: Any) -> None:
    """At a rate of a half, every second image keeps what the one before it drops."""

    def opposite(mask: Array) -> Array:
        turned = _scale(mask) - np.roll(mask, 1, axis=0)
        second = np.arange(len(mask))[:, None] % 2 == 1
        return np.where(second, turned, mask) if _scale(mask) == 2 else mask

    _drawn(b, _each(opposite), model=True)


# Layers


@caught_by("masking", alone=True)
def layers_1_and_3_share_a_mask(b: Any, r: Any) -> None:
    _drawn(b, _third(lambda first, second, third: first), learner=True)


@caught_by("modes", alone=True)
def layers_1_and_3_share_a_mask_outside_the_learner(b: Any, r: Any) -> None:
    _drawn(b, _third(lambda first, second, third: first), model=True)


@caught_by("modes", alone=True)
def layers_of_different_widths_begin_alike(b: Any, r: Any) -> None:
    """Where there is a wider one."""

    def begun(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        first = next(iter(masks.values()))
        wider = {n: np.hstack([first, m[:, first.shape[1] :]]) for n, m in masks.items() if m.shape[1] > first.shape[1]}
        return {**masks, **wider}

    _drawn(b, begun, model=True)


@caught_by("masking", alone=True)
def the_third_layer_keeps_the_second_ones_units_mirrored(b: Any, r: Any) -> None:
    _drawn(b, _third(lambda first, second, third: second[:, ::-1]), learner=True)


@caught_by("masking")
def one_layer_is_not_dropped_after_the_second_step(b: Any, r: Any) -> None:
    def late(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        return {**masks, **{name: np.ones_like(masks[name]) for name in [*masks][2:] if seed[1] >= 2}}

    _drawn(b, late, learner=True)


# Units


def _period(units: int) -> Change:
    return _each(lambda mask: mask[:, np.arange(mask.shape[1]) % units])


@caught_by("masking", alone=True)
def masks_repeat_after_16_units(b: Any, r: Any) -> None:
    _drawn(b, _period(16), learner=True)


@caught_by("masking", alone=True)
def masks_repeat_after_64_units(b: Any, r: Any) -> None:
    _drawn(b, _period(64), learner=True)


@caught_by("modes", alone=True)
def masks_repeat_after_2048_units(b: Any, r: Any) -> None:
    _drawn(b, _period(2048), model=True)


@caught_by("modes", alone=True)
def masks_are_symmetric(b: Any, r: Any) -> None:
    def symmetric(mask: Array) -> Array:
        at = np.arange(mask.shape[1])
        return mask[:, np.minimum(at, at[::-1])]

    _drawn(b, _each(symmetric), model=True)


def _exactly(mask: Array, axis: int) -> Array:
    """The same share is kept along ``axis``, whatever the chance: what is kept is moved to where it is missing."""
    ranks = np.random.default_rng([mask.shape[1], int(mask.sum())]).random(mask.shape).argsort(axis).argsort(axis)
    return np.where(ranks < round(mask.shape[axis] / _scale(mask)), _scale(mask), 0.0)


@caught_by("masking")
def a_mask_keeps_exactly_its_share(b: Any, r: Any) -> None:
    def exact(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        return {name: _exactly(mask, 1) for name, mask in masks.items()}

    _drawn(b, exact, learner=True)


@caught_by("modes", alone=True)
def a_unit_is_kept_in_exactly_its_share_of_images(b: Any, r: Any) -> None:
    _drawn(b, lambda masks, net, seed: {n: _exactly(m, 0) for n, m in masks.items() if len(m) > 3} or masks, model=True)


@caught_by("masking", alone=True)
def the_first_unit_is_always_kept(b: Any, r: Any) -> None:
    def kept(mask: Array) -> Array:
        return np.where(np.arange(mask.shape[1]) == 0, _scale(mask), mask) if mask.shape[1] > 100 else mask

    _drawn(b, _each(kept), learner=True)


@caught_by("modes", alone=True)
def units_from_1024_on_are_not_dropped(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.where(np.arange(mask.shape[1]) < 1024, mask, _scale(mask))), model=True)


@caught_by("masking", alone=True)
def units_from_1024_on_are_not_dropped_in_the_learner(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.where(np.arange(mask.shape[1]) < 1024, mask, _scale(mask))), learner=True)


@caught_by("masking", alone=True)
def every_third_unit_copies_the_layer_before(b: Any, r: Any) -> None:
    def copied(first: Array, second: Array, third: Array) -> Array:
        return np.where(np.arange(third.shape[1]) % 3 == 0, second, third)

    _drawn(b, _third(copied), learner=True)


# Rates and scales


@caught_by("modes", alone=True)
def a_rate_of_three_tenths_becomes_a_quarter(b: Any, r: Any) -> None:
    _rated(b, lambda rate: 0.25 if rate == 0.3 else rate, learner=False)


@caught_by("masking")
def a_rate_of_three_tenths_becomes_a_quarter_in_the_learner(b: Any, r: Any) -> None:
    _rated(b, lambda rate: 0.25 if rate == 0.3 else rate, learner=True)


@caught_by("modes", alone=True)
def a_rate_of_nine_tenths_becomes_seven_eighths(b: Any, r: Any) -> None:
    _rated(b, lambda rate: 0.875 if rate == 0.9 else rate, learner=False)


@caught_by("masking", alone=True)
def a_rate_of_nine_tenths_becomes_seven_eighths_in_the_learner(b: Any, r: Any) -> None:
    _rated(b, lambda rate: 0.875 if rate == 0.9 else rate, learner=True)


@caught_by("masking")
def own_masks_are_not_rescaled_in_float32(b: Any, r: Any) -> None:
    def bare(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        return {n: np.sign(m) for n, m in masks.items()} if net.dtype == "float32" else masks

    _drawn(b, bare, learner=True)


@caught_by("masking")
def own_masks_are_rescaled_by_another_rate_in_float32(b: Any, r: Any) -> None:
    """At three tenths by that of a quarter; what is dropped is right."""

    def other(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        wrong = net.dtype == "float32" and net.spec.head.dropout == 0.3
        return {n: np.sign(m) / 0.75 for n, m in masks.items()} if wrong else masks

    _drawn(b, other, learner=True)


@caught_by("masking", alone=True)
def own_masks_are_rescaled_by_a_rounded_factor_in_float32(b: Any, r: Any) -> None:
    """To six digits: a hundredth of what sums may be off by."""

    def rounded(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        return {n: m * (1 + 1e-6) for n, m in masks.items()} if net.dtype == "float32" else masks

    _drawn(b, rounded, learner=True)


@caught_by("masking")
def dropout_is_off_on_pixels(b: Any, r: Any) -> None:
    def quiet(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any = None) -> Any:
        pixels["are"] = x.dtype == np.uint8
        return original(self, x, y, lr, masks)

    pixels = {"are": False}
    around(b.Learner, "step", quiet)
    _drawn(b, _each(lambda mask: np.ones_like(mask) if pixels["are"] else mask), learner=True)


@caught_by("masking", alone=True)
def dropout_is_off_in_fp16(b: Any, r: Any) -> None:
    def quiet(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any = None) -> Any:
        precision["is"] = self.recipe.precision
        return original(self, x, y, lr, masks)

    precision = {"is": ""}
    around(b.Learner, "step", quiet)
    _drawn(b, _each(lambda mask: np.ones_like(mask) if precision["is"] == "fp16" else mask), learner=True)


@caught_by("masking")
def dropout_is_off_for_a_single_image(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.ones_like(mask) if len(mask) == 1 else mask), learner=True)


# Steps, seeds, evaluation, states


@caught_by("masking", alone=True)
def masks_repeat_after_two_steps(b: Any, r: Any) -> None:
    """In steps of more than five images."""
    _repeating(b, lambda step: step % 2)


@caught_by("masking", alone=True)
def masks_repeat_after_sixteen_steps(b: Any, r: Any) -> None:
    _repeating(b, lambda step: step % 16)


@caught_by("masking", alone=True)
def masks_repeat_after_1024_steps(b: Any, r: Any) -> None:
    _repeating(b, lambda step: step % 1024)


@caught_by("masking", alone=True)
def masks_repeat_from_epoch_to_epoch(b: Any, r: Any) -> None:
    """An epoch of 60,000 images has 469 batches of 128."""
    _seeded(b, lambda seed, step: (seed, step % 469))


@caught_by("masking", alone=True)
def steps_are_counted_in_images(b: Any, r: Any) -> None:
    """Step 2 on 4 images is step 1 on 8."""

    def mode(o: Any, net: Any, count: int, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        return o(net, count, *a, seed=(seed[0], seed[1] * count) if len(seed) > 1 else seed, **k)

    around(b, "_mode", mode)


def _repeating(b: Any, number: Callable[[int], int]) -> None:
    def mode(o: Any, net: Any, count: int, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        return o(net, count, *a, seed=(seed[0], number(seed[1])) if count > 5 and len(seed) > 1 else seed, **k)

    around(b, "_mode", mode)


@caught_by("masking", alone=True)
def a_seed_and_the_next_one_draw_the_same(b: Any, r: Any) -> None:
    """2 and 3, 4 and 5, and so on."""
    _seeded(b, lambda seed, step: (seed // 2 * 2 if seed > 1 else seed, step))


@caught_by("masking")
def seeds_are_added_to_steps(b: Any, r: Any) -> None:
    """Step 1 of seed 0 is step 0 of seed 1."""
    _seeded(b, lambda seed, step: (0, 65536 + seed + step))


@caught_by("masking", alone=True)
def seeds_are_taken_modulo_997(b: Any, r: Any) -> None:
    _seeded(b, lambda seed, step: (seed % 997, step))


@caught_by("masking", alone=True)
def the_seed_is_ignored_beyond_sixteen_bits(b: Any, r: Any) -> None:
    _seeded(b, lambda seed, step: (seed if seed < 65536 else 0, step))


def _counting(reset: str) -> Sabotage:
    """Masks of a batch of more than eight start anew with each call of ``reset``."""

    def sabotage(b: Any, r: Any) -> None:
        def stepped(original: Any, self: Any, x: Any, *a: Any, **k: Any) -> Any:
            self.since = getattr(self, "since", -1) + 1
            now["step"] = self.since if len(x) > 8 else self.steps
            return original(self, x, *a, **k)

        def again(original: Any, self: Any, *a: Any) -> Any:
            self.since = -1
            return original(self, *a)

        now = {"step": 0}
        around(b.Learner, "step", stepped)
        around(b.Learner, reset, again)
        _seeded(b, lambda seed, step: (seed, now["step"]))

    return sabotage


@caught_by("masking")
def evaluation_starts_masks_anew(b: Any, r: Any) -> None:
    _counting("evaluate")(b, r)


@caught_by("masking")
def restoring_starts_masks_anew(b: Any, r: Any) -> None:
    _counting("restore")(b, r)


@caught_by("modes")
def a_layer_is_never_dropped_as_a_whole(b: Any, r: Any) -> None:
    def spared(mask: Array) -> Array:
        mask[~mask.any(axis=1), 0] = mask.max(initial=1)
        return mask

    _drawn(b, _each(spared), learner=True, model=True)


@caught_by("modes")
def a_layer_of_one_unit_is_never_dropped(b: Any, r: Any) -> None:
    _drawn(b, _each(lambda mask: np.full_like(mask, mask.max()) if mask.shape[1] == 1 else mask), model=True)


@caught_by("modes", alone=True)
def masks_repeat_after_4096_units(b: Any, r: Any) -> None:
    _drawn(b, _period(4096), model=True)


@caught_by("modes", alone=True)
def layers_1_and_7_share_a_mask(b: Any, r: Any) -> None:
    def shared(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        names = [*masks]
        return {name: masks[names[i % 6]] if i > 5 else masks[name] for i, name in enumerate(names)}

    _drawn(b, shared, learner=True, model=True)


@caught_by("modes", alone=True)
def layers_from_the_ninth_on_are_not_dropped(b: Any, r: Any) -> None:
    def late(masks: Arrays, net: Any, seed: tuple[int, ...]) -> Arrays:
        return {name: np.ones_like(mask) if i > 7 else mask for i, (name, mask) in enumerate(masks.items())}

    _drawn(b, late, learner=True, model=True)
