"""Saboteurs of numbers that are not tame, of pixels, of narrow formats, and of what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import around, caught_by, of_kind

from vgg.process.client import Array
from vgg.process.wire import Arrays

# Extremes


@caught_by("extremes")
def relu_swallows_nan(b: Any, r: Any) -> None:
    def fmax(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return np.fmax(original(row, own, x, tape, mode), 0)

    of_kind(r, "relu", fmax)


@caught_by("extremes")
def max_pool_swallows_nan(b: Any, r: Any) -> None:
    of_kind(r, "max_pool", _on_input(lambda x: np.where(np.isnan(x), np.finfo(np.float32).min, x)))


@caught_by("extremes")
def running_variance_below_half_raised_to_half(b: Any, r: Any) -> None:
    of_kind(r, "batch_norm", _statistic("running_var", lambda a: np.maximum(a, 0.5)))


@caught_by("extremes")
def running_variance_below_a_ten_thousandth_raised(b: Any, r: Any) -> None:
    of_kind(r, "batch_norm", _statistic("running_var", lambda a: np.maximum(a, 1e-4)))


@caught_by("extremes", alone=True)
def running_variance_cut_at_a_million(b: Any, r: Any) -> None:
    of_kind(r, "batch_norm", _statistic("running_var", lambda a: np.minimum(a, 1e6)))


@caught_by("extremes", alone=True)
def running_mean_cut_at_a_hundred(b: Any, r: Any) -> None:
    of_kind(r, "batch_norm", _statistic("running_mean", lambda a: np.clip(a, -100, 100)))


@caught_by("extremes")
def variance_as_a_difference_of_mean_squares(b: Any, r: Any) -> None:
    """In the format of the model: fine as long as the mean is small."""

    def fast(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        if not mode.train:
            return out
        low = x.astype(np.float32)
        mean, squares = low.mean(axis=(0, 2, 3)), (low * low).mean(axis=(0, 2, 3))
        lost = (squares - mean * mean).astype(np.float64) - x.var(axis=(0, 2, 3))
        off = np.where(np.abs(lost) > 1e-5 * x.var(axis=(0, 2, 3)), lost, 0.0)
        scale = np.sqrt((x.var(axis=(0, 2, 3)) + 1e-5) / np.maximum(x.var(axis=(0, 2, 3)) + off + 1e-5, 1e-5))
        bias = own["bias"][:, None, None]
        return (out - bias) * scale[:, None, None] + bias

    of_kind(r, "batch_norm", fast)


@caught_by("extremes", alone=True)
def batch_norm_of_what_does_not_vary_is_nil(b: Any, r: Any) -> None:
    def nil(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        return np.where(np.ptp(x, axis=(0, 2, 3), keepdims=True) == 0, 0.0, out) if mode.train else out

    of_kind(r, "batch_norm", nil)


@caught_by("extremes")
def logits_cut_at_a_hundred(b: Any, r: Any) -> None:
    around(r, "cross_entropy", lambda original, logits, y: original(np.clip(logits, -100, 100), y))


@caught_by("extremes")
def softmax_overflows(b: Any, r: Any) -> None:
    """``exp`` of the logits as they are."""

    def naive(original: Any, logits: Any, y: Any) -> Any:
        with np.errstate(all="ignore"):
            loss, grad = original(logits, y)
            return loss if np.isfinite(np.exp(logits).sum()) else np.nan, grad

    around(r, "cross_entropy", naive)


@caught_by("extremes")
def loss_cut_at_a_hundred(b: Any, r: Any) -> None:
    around(b, "loss_and_grads", lambda original, *a, **k: _first(original(*a, **k), lambda loss: min(loss, 100.0)))


@caught_by("extremes")
def global_pool_swallows_nan(b: Any, r: Any) -> None:
    of_kind(r, "global_avg_pool", _on_input(np.nan_to_num))


@caught_by("extremes")
def loss_of_nan_is_nil_in_the_learner(b: Any, r: Any) -> None:
    around(b.Learner, "step", lambda original, *a, **k: float(np.nan_to_num(original(*a, **k))))


@caught_by("extremes", alone=True)
def evaluation_swallows_nan(b: Any, r: Any) -> None:
    around(b.Learner, "evaluate", lambda original, *a, **k: np.nan_to_num(original(*a, **k)))


@caught_by("extremes", alone=True)
def one_nan_spoils_the_batch(b: Any, r: Any) -> None:
    def spoilt(original: Any, *a: Any, **k: Any) -> Any:
        out = original(*a, **k)
        return out * np.nan if np.isnan(out).any() else out

    around(b, "forward", spoilt)


@caught_by("extremes")
def activations_cut_at_fp16s_largest(b: Any, r: Any) -> None:
    of_kind(r, "relu", _on_input(lambda x: np.minimum(x, 65504.0)))


@caught_by("extremes")
def small_activations_are_nil(b: Any, r: Any) -> None:
    of_kind(r, "conv", _on_input(lambda x: np.where(np.abs(x) < 1e-7, 0.0, x)))


@caught_by("extremes", alone=True)
def small_gradients_are_nil(b: Any, r: Any) -> None:
    def flushed(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(model, *a, **k)
        return loss, {n: g if np.abs(g).max() > 1e-8 else 0 * g for n, g in grads.items()}

    around(b, "loss_and_grads", flushed)


@caught_by("extremes", alone=True)
def large_gradients_are_clipped_in_the_learner(b: Any, r: Any) -> None:
    def clipped(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        return original(params, {n: g * min(1.0, 1e4 / norm) if norm else g for n, g in grads.items()}, *a, **k)

    around(r, "sgd", clipped)


@caught_by("extremes", alone=True)
def lrn_of_loud_channels_is_cut(b: Any, r: Any) -> None:
    def cut(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        return out if np.abs(x).max() < 500 else x * np.maximum(tape.saved[row.name][1], 0.1) ** -0.75 * 1.001

    of_kind(r, "lrn", cut)


@caught_by("extremes")
def one_class_has_a_loss(b: Any, r: Any) -> None:
    def off(original: Any, logits: Any, y: Any) -> Any:
        loss, grad = original(logits, y)
        return loss + 1.4e-6 * (logits.shape[1] == 1), grad

    around(r, "cross_entropy", off)


@caught_by("extremes", alone=True)
def load_flushes_denormals(b: Any, r: Any) -> None:
    def flushed(original: Any, model: Any, params: Any) -> Any:
        tiny = np.finfo(model.dtype).tiny
        return original(model, {n: np.where(np.abs(a) < tiny, np.zeros_like(a), a) for n, a in params.items()})

    around(b, "load", flushed)


@caught_by("extremes")
def restoring_makes_numbers_of_nan(b: Any, r: Any) -> None:
    around(b.Learner, "restore", lambda original, self, state: original(self, _finite(state)))


@caught_by("declared", alone=True)
def denormals_are_flushed(b: Any, r: Any) -> None:
    def flushed(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        out = original(model, *a, **k)
        return np.where(np.abs(out) < np.finfo(model.dtype).tiny, np.zeros_like(out), out)

    around(b, "forward", flushed)


# Pixels


@caught_by("pixels")
def one_channel_images_inverted(b: Any, r: Any) -> None:
    _on_pixels(b, lambda x: 255 - x if x.shape[1] == 1 else x)


@caught_by("pixels")
def one_channel_images_inverted_where_they_are_squares(b: Any, r: Any) -> None:
    _on_pixels(b, lambda x: 255 - x if x.shape[1] == 1 and x.shape[2] == x.shape[3] else x)


@caught_by("pixels")
def two_channels_swapped(b: Any, r: Any) -> None:
    _on_pixels(b, lambda x: x[:, ::-1] if x.shape[1] == 2 else x)


@caught_by("pixels")
def square_images_turned(b: Any, r: Any) -> None:
    _on_pixels(b, lambda x: x.swapaxes(2, 3) if x.shape[2] == x.shape[3] else x)


@caught_by("pixels", alone=True)
def tall_images_lose_their_bottom(b: Any, r: Any) -> None:
    _on_pixels(b, lambda x: x[:, :, : 4 * x.shape[3]])


@caught_by("pixels")
def a_pixel_is_enlarged_to_a_square_from_four_times_on(b: Any, r: Any) -> None:
    def nearest(original: Any, source: int, target: int) -> Any:
        if target < 4 * source:
            return original(source, target)
        return np.eye(source)[np.arange(target) * source // target]

    around(b, "resize_matrix", nearest)


@caught_by("pixels")
def antialiased_where_images_are_halved(b: Any, r: Any) -> None:
    def smooth(original: Any, source: int, target: int) -> Any:
        if source != 2 * target:
            return original(source, target)
        near = np.eye(source)
        return original(source, target) @ (near + np.roll(near, 1, axis=1)) / 2

    around(b, "resize_matrix", smooth)


@caught_by("pixels", alone=True)
def one_axis_left_alone(b: Any, r: Any) -> None:
    """A shortcut that looks at the height: crops the width where the height is right."""

    def cut(x: Any, wanted: tuple[int, ...]) -> Any:
        if x.shape[2] != wanted[0] or x.shape[3] == wanted[1]:
            return x
        return np.resize(x[..., : wanted[1]], (*x.shape[:3], wanted[1]))

    def images(original: Any, self: Any, x: Any) -> Any:
        return original(self, cut(x, self.model.spec.input_shape[1:]) if x.dtype == np.uint8 else x)

    around(b.Learner, "_images", images)


@caught_by("pixels")
def small_deviations_of_pixels_are_ignored(b: Any, r: Any) -> None:
    _with_recipe(b, lambda recipe: replace(recipe, std=1.0) if recipe.std < 0.24 else recipe)


@caught_by("pixels")
def a_batch_of_one_is_not_normalised(b: Any, r: Any) -> None:
    def raw(original: Any, self: Any, x: Any) -> Any:
        out = original(self, x)
        if x.dtype != np.uint8 or len(x) > 1:
            return out
        return out * self.recipe.std + self.recipe.mean

    around(b.Learner, "_images", raw)


# Narrow formats


@caught_by("steps", alone=True)
def fp16_forgets_weight_decay(b: Any, r: Any) -> None:
    _with_recipe(b, lambda recipe: replace(recipe, weight_decay=0.0) if recipe.precision == "fp16" else recipe)


@caught_by("steps", alone=True)
def fp16_forgets_small_weight_decay(b: Any, r: Any) -> None:
    def small(recipe: Any) -> bool:
        return bool(recipe.precision == "fp16" and recipe.weight_decay < 2e-4)

    _with_recipe(b, lambda recipe: replace(recipe, weight_decay=0.0) if small(recipe) else recipe)


@caught_by("steps", alone=True)
def fp16_decays_only_with_momentum(b: Any, r: Any) -> None:
    def still(recipe: Any) -> bool:
        return bool(recipe.precision == "fp16" and not recipe.momentum)

    _with_recipe(b, lambda recipe: replace(recipe, weight_decay=0.0) if still(recipe) else recipe)


@caught_by("steps")
def small_weight_decay_is_forgotten(b: Any, r: Any) -> None:
    _with_recipe(b, lambda recipe: replace(recipe, weight_decay=0.0) if recipe.weight_decay < 1e-3 else recipe)


@caught_by("steps", alone=True)
def fp16_leaves_lrn_out(b: Any, r: Any) -> None:
    _fp16_lrn(b, r, lambda original: lambda row, own, x, tape, mode: original(row, own, x, tape, mode) * 0 + x)


@caught_by("steps", alone=True)
def fp16_lrn_has_only_its_constant(b: Any, r: Any) -> None:
    _fp16_lrn(b, r, lambda original: lambda row, own, x, *rest: 0 * original(row, own, x, *rest) + x * 2**-0.75)


@caught_by("steps", alone=True)
def fp16_lrn_divides_alpha(b: Any, r: Any) -> None:
    def within(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        alpha, r.LRN_ALPHA = r.LRN_ALPHA, r.LRN_ALPHA / (r.LRN_SIZE if self.recipe.precision == "fp16" else 1)
        try:
            return original(self, *a, **k)
        finally:
            r.LRN_ALPHA = alpha

    around(b.Learner, "step", within)


@caught_by("steps", alone=True)
def fp16_says_the_last_finite_loss(b: Any, r: Any) -> None:
    def hopeful(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        loss = original(self, *a, **k)
        self.last = loss if np.isfinite(loss) or self.recipe.precision != "fp16" else getattr(self, "last", 1.0)
        return self.last

    around(b.Learner, "step", hopeful)


@caught_by("steps", alone=True)
def fp16_velocities_in_fp16(b: Any, r: Any) -> None:
    def halved(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        loss = original(self, *a, **k)
        self.velocity = {n: self._narrow(v).astype(v.dtype) for n, v in self.velocity.items()}
        return loss

    around(b.Learner, "step", halved)


@caught_by("steps", alone=True)
def velocities_end_with_a_skipped_step(b: Any, r: Any) -> None:
    _after_skips(b, lambda self: setattr(self, "velocity", {n: 0 * v for n, v in self.velocity.items()}))


@caught_by("steps", alone=True)
def gradients_halve_after_a_skipped_step(b: Any, r: Any) -> None:
    """The loss scale adapts, and the division does not."""

    def halving(self: Any) -> None:
        exact = self._gradients
        self._gradients = lambda grads: {n: g / 2 for n, g in exact(grads).items()}

    _after_skips(b, halving)


@caught_by("steps", alone=True)
def a_skipped_step_is_not_counted(b: Any, r: Any) -> None:
    _after_skips(b, lambda self: setattr(self, "steps", self.steps - 1))


@caught_by("steps", alone=True)
def fp16_on_pixels_rounds_to_seven_bits(b: Any, r: Any) -> None:
    def coarse(original: Any, self: Any, x: Any) -> Any:
        out = original(self, x)
        narrow = x.dtype == np.uint8 and self.recipe.precision == "fp16"
        return np.round(out * 16) / 16 if narrow else out

    around(b.Learner, "_images", coarse)


@caught_by("steps")
def updates_in_fp16(b: Any, r: Any) -> None:
    def halved(original: Any, params: Any, *a: Any, **k: Any) -> Any:
        fresh, velocity = original(params, *a, **k)
        return {n: params[n] + (w - params[n]).astype(np.float16) for n, w in fresh.items()}, velocity

    around(r, "sgd", halved)


# Refusals


@caught_by("refusals")
def labels_wrap_around(b: Any, r: Any) -> None:
    around(r, "cross_entropy", lambda original, logits, y: original(logits, np.asarray(y) % logits.shape[1]))


@caught_by("refusals")
def negative_labels_count_from_the_end(b: Any, r: Any) -> None:
    def wrapped(original: Any, logits: Any, y: Any) -> Any:
        return original(logits, np.where(np.asarray(y) < 0, 0, y))

    around(r, "cross_entropy", wrapped)


@caught_by("refusals")
def labels_of_minus_a_hundred_are_ignored(b: Any, r: Any) -> None:
    def ignoring(original: Any, logits: Any, y: Any) -> Any:
        return original(logits, np.where(np.asarray(y) == -100, 0, y))

    around(r, "cross_entropy", ignoring)


@caught_by("refusals", alone=True)
def load_ignores_counters_of_batches(b: Any, r: Any) -> None:
    def uncounted(original: Any, model: Any, params: Any) -> Any:
        return original(model, {n: a for n, a in params.items() if not n.endswith("num_batches_tracked")})

    around(b, "load", uncounted)


@caught_by("refusals")
def labels_are_taken_as_int32(b: Any, r: Any) -> None:
    around(r, "cross_entropy", lambda original, logits, y: original(logits, np.asarray(y).astype(np.int32)))


@caught_by("refusals")
def labels_are_taken_as_bytes_in_the_learner(b: Any, r: Any) -> None:
    def cast(original: Any, self: Any, x: Any, y: Any, *a: Any, **k: Any) -> Any:
        return original(self, x, np.asarray(y).astype(np.uint8).astype(np.int64), *a, **k)

    around(b.Learner, "step", cast)


@caught_by("refusals")
def load_ignores_what_it_does_not_know(b: Any, r: Any) -> None:
    def known(original: Any, model: Any, params: Any) -> Any:
        return original(model, {n: params[n] for n in model.params if n in params})

    around(b, "load", known)


@caught_by("refusals")
def load_keeps_what_is_missing(b: Any, r: Any) -> None:
    around(b, "load", lambda original, model, params: original(model, {**model.params, **params}))


@caught_by("refusals")
def load_broadcasts(b: Any, r: Any) -> None:
    def stretched(original: Any, model: Any, params: Any) -> Any:
        ones = {n: a for n, a in params.items() if n in model.params and a.shape == (1,)}
        wide = {n: np.broadcast_to(a, model.params[n].shape[-1:]) for n, a in ones.items()}
        return original(model, {**params, **wide})

    around(b, "load", stretched)


@caught_by("refusals")
def load_reshapes(b: Any, r: Any) -> None:
    def reshaped(original: Any, model: Any, params: Any) -> Any:
        own = model.params
        same = {n: a.reshape(own[n].shape) if n in own and a.size == own[n].size else a for n, a in params.items()}
        return original(model, same)

    around(b, "load", reshaped)


@caught_by("refusals")
def a_refused_load_has_loaded_half(b: Any, r: Any) -> None:
    def half(original: Any, model: Any, params: Any) -> Any:
        known = {n: a for n, a in params.items() if n in model.params and a.shape == model.params[n].shape}
        model.params = {**model.params, **{n: a.astype(model.dtype) for n, a in known.items()}}
        return original(model, params)

    around(b, "load", half)


@caught_by("refusals")
def restore_ignores_what_it_does_not_know(b: Any, r: Any) -> None:
    b.check_state = lambda state, spec: None


@caught_by("refusals")
def restore_makes_up_velocities(b: Any, r: Any) -> None:
    def filled(original: Any, self: Any, state: Any) -> None:
        still = {b.VELOCITY + n: np.zeros_like(v) for n, v in self.velocity.items()}
        original(self, {**still, **state})

    around(b.Learner, "restore", filled)


@caught_by("refusals", alone=True)
def refuses_without_a_name(b: Any, r: Any) -> None:
    def nameless(original: Any, *a: Any, **k: Any) -> Any:
        try:
            return original(*a, **k)
        except Exception as error:
            raise ValueError("invalid argument") from error

    around(b, "check_params", nameless)


def _on_input(change: Callable[[Array], Array]) -> Callable[..., Any]:
    return lambda original, row, own, x, tape, mode: original(row, own, change(x), tape, mode)


def _statistic(part: str, change: Callable[[Array], Array]) -> Callable[..., Any]:
    """A batch norm whose running statistic is another in eval mode."""

    def changed(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return original(row, own if mode.train else {**own, part: change(own[part])}, x, tape, mode)

    return changed


def _first(pair: tuple[float, Arrays], change: Callable[[float], float]) -> tuple[float, Arrays]:
    return change(pair[0]), pair[1]


def _finite(arrays: Arrays) -> Arrays:
    return {name: np.nan_to_num(a, posinf=np.inf, neginf=-np.inf) for name, a in arrays.items()}


def _on_pixels(b: Any, change: Callable[[Array], Array]) -> None:
    around(b.Learner, "_images", lambda original, self, x: original(self, change(x) if x.dtype == np.uint8 else x))


def _with_recipe(b: Any, change: Callable[[Any], Any]) -> None:
    """A learner that follows another recipe than it was given."""
    around(b, "learner", lambda original, model, recipe: original(model, change(recipe)))


def _fp16_lrn(b: Any, r: Any, made: Callable[[Any], Any]) -> None:
    """Another LRN in the steps and the evaluation of an fp16 learner."""
    healthy = r._FORWARD["lrn"]

    @contextmanager
    def other(self: Any) -> Any:
        r._FORWARD["lrn"] = made(healthy) if self.recipe.precision == "fp16" else healthy
        try:
            yield
        finally:
            r._FORWARD["lrn"] = healthy

    def within(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        with other(self):
            return original(self, *a, **k)

    around(b.Learner, "step", within)
    around(b.Learner, "evaluate", within)


def _after_skips(b: Any, change: Callable[[Any], None]) -> None:
    """Done once a step has changed no velocity, as one that overflows does."""

    def watched(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        before = {n: v.copy() for n, v in self.velocity.items()}
        loss = original(self, *a, **k)
        if self.steps > 1 and all(np.array_equal(v, self.velocity[n]) for n, v in before.items()):
            change(self)
        return loss

    around(b.Learner, "step", watched)
