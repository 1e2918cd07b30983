"""Saboteurs of a learner's life, and of recipes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import around, caught_by

from vgg.process.client import Array
from vgg.process.wire import Arrays

Step = Callable[..., float]


def in_step(b: Any, faulty: Callable[..., float]) -> None:
    """Let ``faulty(step, learner, x, y, lr, masks)`` stand for a learner's step."""
    healthy = b.Learner.step
    b.Learner.step = lambda self, x, y, lr, masks=None: faulty(healthy, self, x, y, lr, masks)


def in_update(b: Any, r: Any, changed: Callable[..., dict[str, Any]]) -> None:
    """Let ``changed(learner, lr=, momentum=, weight_decay=)`` give what of the update is otherwise."""
    now: list[Any] = []

    def step(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        now[:] = [self]
        return original(self, *a, **k)

    def update(original: Any, params: Any, grads: Any, velocity: Any, **k: Any) -> Any:
        return original(params, grads, velocity, **{**k, **changed(now[0], **k)})

    around(b.Learner, "step", step)
    around(r, "sgd", update)


def resized(b: Any, changed: Callable[[Any, Array], Array]) -> None:
    """Let ``changed(images, x)`` stand for what the network is given of ``x``; ``images`` does it right."""
    healthy = b.Learner._images
    b.Learner._images = lambda self, x: changed(lambda x: healthy(self, x), x)


# Modes


@caught_by("life")
def a_learner_stays_in_eval_mode_after_evaluate(b: Any, r: Any) -> None:
    evaluating: list[bool] = [False]

    def evaluate(original: Any, self: Any, x: Any) -> Any:
        self.evaluated = True
        return original(self, x)

    def step(original: Any, self: Any, *a: Any) -> Any:
        evaluating[0] = getattr(self, "evaluated", False)
        try:
            return original(self, *a)
        finally:
            evaluating[0] = False

    around(b.Learner, "evaluate", evaluate)
    in_step(b, step)
    around(r, "loss_and_grads", lambda o, *a: o(*a[:4], a[4]._replace(train=a[4].train and not evaluating[0])))


@caught_by("life")
def running_statistics_move_in_evaluate(b: Any, r: Any) -> None:
    def evaluate(original: Any, self: Any, x: Any) -> Any:
        logits = original(self, x)
        params = self.model.params
        params |= {n: 0.99 * a for n, a in params.items() if n.endswith("running_mean")}
        return logits

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def evaluate_counts_as_a_step(b: Any, r: Any) -> None:
    def evaluate(original: Any, self: Any, x: Any) -> Any:
        self.steps += 1
        return original(self, x)

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def before_its_first_step_a_learner_evaluates_in_train_mode(b: Any, r: Any) -> None:
    def evaluate(original: Any, self: Any, x: Any) -> Any:
        if self.steps:
            return original(self, x)
        return b.forward(replace(self.model, spec=self.model.spec.modified(dropout=0)), self._images(x), train=True)

    around(b.Learner, "evaluate", evaluate)


# Evaluation


@caught_by("life")
def evaluates_with_the_weights_of_its_first_call(b: Any, r: Any) -> None:
    def evaluate(original: Any, self: Any, x: Any) -> Any:
        self.frozen = getattr(self, "frozen", None) or dict(self.model.params)
        trained, self.model.params = self.model.params, self.frozen
        try:
            return original(self, x)
        finally:
            self.model.params = trained

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def garbage_for_more_images_than_were_trained_on(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, *a: Any) -> Any:
        self.most = max(getattr(self, "most", 0), len(x))
        return original(self, x, *a)

    def evaluate(original: Any, self: Any, x: Any) -> Any:
        logits = original(self, x)
        logits[getattr(self, "most", len(x)) :] = 0
        return logits

    in_step(b, step)
    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def the_same_shape_is_evaluated_once(b: Any, r: Any) -> None:
    """A cache that forgets to ask which images, and whether there was a step."""

    def evaluate(original: Any, self: Any, x: Any) -> Any:
        cache = self.__dict__.setdefault("cache", {})
        return cache.setdefault((x.shape, x.dtype), original(self, x))

    around(b.Learner, "evaluate", evaluate)


@caught_by("life")
def gradients_pile_up_over_an_evaluation(b: Any, r: Any) -> None:
    def evaluate(original: Any, self: Any, x: Any) -> Any:
        self.stale = True
        return original(self, x)

    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        factor, self.stale = 1.5 if getattr(self, "stale", False) else 1.0, False
        self._gradients = lambda grads: {n: factor * g for n, g in b.Learner._gradients(self, grads).items()}
        return original(self, x, y, lr, masks)

    around(b.Learner, "evaluate", evaluate)
    in_step(b, step)


# Batches


@caught_by("life", alone=True)
def divides_by_the_first_batchs_size(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        self.first = getattr(self, "first", len(x))
        factor = len(x) / self.first
        self._gradients = lambda grads: {n: factor * g for n, g in b.Learner._gradients(self, grads).items()}
        return factor * original(self, x, y, lr, masks)

    in_step(b, step)


@caught_by("life", alone=True)
def a_batch_of_one_is_skipped(b: Any, r: Any) -> None:
    """In a learner that has seen larger ones: a rest of an epoch."""

    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        rest = len(x) == 1 and getattr(self, "larger", False)
        self.larger = getattr(self, "larger", False) or len(x) > 1
        return original(self, x, y, 0.0 if rest else lr, masks)

    in_step(b, step)


@caught_by("life")
def the_last_image_of_a_batch_that_4_divides_is_left_out(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        if len(x) % 4:
            return original(self, x, y, lr, masks)
        masks = {n: m[:-1] for n, m in (masks or {}).items()} or None
        return original(self, x[:-1], y[:-1], lr, masks)

    in_step(b, step)


@caught_by("life", alone=True)
def smaller_batches_are_filled_with_the_ones_before(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        before = getattr(self, "before", (x, y, masks))
        self.before = x, y, masks
        if len(before[0]) <= len(x) or before[0].shape[1:] != x.shape[1:] or before[0].dtype != x.dtype:
            return original(self, x, y, lr, masks)
        own, their = masks or {}, before[2] or {}
        filled = {n: np.concatenate([m, their[n][len(x) :]]) for n, m in own.items() if n in their} or None
        return original(
            self, np.concatenate([x, before[0][len(x) :]]), np.concatenate([y, before[1][len(x) :]]), lr, filled
        )

    in_step(b, step)


@caught_by("life")
def batches_of_16_and_more_lose_what_is_beyond(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        masks = {n: m[:15] for n, m in (masks or {}).items()} or None
        return original(self, x[:15], y[:15], lr, masks)

    in_step(b, step)


# State


@caught_by("life")
def momentum_is_lost_unless_the_state_was_asked(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, *a: Any) -> Any:
        if not getattr(self, "asked", True):
            self.velocity = {n: np.zeros_like(v) for n, v in self.velocity.items()}
        self.asked = False
        return original(self, *a)

    def state(original: Any, self: Any) -> Any:
        self.asked = True
        return original(self)

    def restore(original: Any, self: Any, given: Any) -> None:
        self.asked = True
        original(self, given)

    in_step(b, step)
    around(b.Learner, "state", state)
    around(b.Learner, "restore", restore)


@caught_by("life")
def asking_for_the_state_clears_the_velocity(b: Any, r: Any) -> None:
    def state(original: Any, self: Any) -> Any:
        out = original(self)
        self.velocity = {n: np.zeros_like(v) for n, v in self.velocity.items()}
        return out

    around(b.Learner, "state", state)


@caught_by("life")
def steps_are_counted_in_seven_bits(b: Any, r: Any) -> None:
    def state(original: Any, self: Any) -> Any:
        return {**original(self), "step": np.array(self.steps % 128)}

    around(b.Learner, "state", state)


@caught_by("life")
def restoring_into_a_used_learner_keeps_its_velocity(b: Any, r: Any) -> None:
    def restore(original: Any, self: Any, state: Any) -> None:
        velocity, used = self.velocity, self.steps
        original(self, state)
        self.velocity = velocity if used else self.velocity

    around(b.Learner, "restore", restore)


@caught_by("life")
def restoring_into_a_used_learner_keeps_its_statistics(b: Any, r: Any) -> None:
    def restore(original: Any, self: Any, state: Any) -> None:
        kept = {n: a for n, a in self.model.params.items() if "running" in n} if self.steps else {}
        original(self, {**state, **kept})

    around(b.Learner, "restore", restore)


@caught_by("life")
def restore_takes_the_state_that_was_last_given_out(b: Any, r: Any) -> None:
    """Right in a fresh process, and where nothing happened since."""
    last: dict[int, Arrays] = {}

    def state(original: Any, self: Any) -> Any:
        last[id(self)] = original(self)
        return last[id(self)]

    around(b.Learner, "state", state)
    around(b.Learner, "restore", lambda original, self, given: original(self, last.get(id(self), given)))


@caught_by("life")
def the_step_after_restoring_starts_from_the_weights_before(b: Any, r: Any) -> None:
    def restore(original: Any, self: Any, state: Any) -> None:
        self.stale = dict(self.model.params) if self.steps else None
        original(self, state)

    def step(original: Any, self: Any, *a: Any) -> Any:
        if getattr(self, "stale", None):
            self.model.params = self.stale
        self.stale = None
        return original(self, *a)

    around(b.Learner, "restore", restore)
    in_step(b, step)


@caught_by("life")
def evaluation_does_not_see_what_was_restored(b: Any, r: Any) -> None:
    def restore(original: Any, self: Any, state: Any) -> None:
        self.seen = dict(self.model.params)
        original(self, state)

    def evaluate(original: Any, self: Any, x: Any) -> Any:
        held = self.model.params
        self.model.params = getattr(self, "seen", None) or held
        try:
            return original(self, x)
        finally:
            self.model.params = held

    def step(original: Any, self: Any, *a: Any) -> Any:
        self.seen = None
        return original(self, *a)

    around(b.Learner, "restore", restore)
    around(b.Learner, "evaluate", evaluate)
    in_step(b, step)


# Two learners


def shared(b: Any, attribute: str) -> None:
    """One value for all learners, as long as they have networks of one shape."""
    held: dict[Any, Any] = {}

    def step(original: Any, self: Any, *a: Any) -> Any:
        key = self.model.spec
        if key in held:
            setattr(self, attribute, held[key])
        try:
            return original(self, *a)
        finally:
            held[key] = getattr(self, attribute)

    def made(original: Any, model: Any, recipe: Any) -> Any:
        learner = original(model, recipe)
        held[model.spec] = getattr(learner, attribute)
        return learner

    def restore(original: Any, self: Any, state: Any) -> None:
        original(self, state)
        held[self.model.spec] = getattr(self, attribute)

    in_step(b, step)
    around(b, "learner", made)
    around(b.Learner, "restore", restore)


@caught_by("life")
def two_learners_share_one_velocity(b: Any, r: Any) -> None:
    shared(b, "velocity")


@caught_by("life")
def two_learners_share_one_count_of_steps(b: Any, r: Any) -> None:
    shared(b, "steps")


@caught_by("life")
def two_learners_share_the_last_recipe(b: Any, r: Any) -> None:
    shared(b, "recipe")


@caught_by("life", alone=True)
def a_new_learner_on_the_model_keeps_the_velocity(b: Any, r: Any) -> None:
    def made(original: Any, model: Any, recipe: Any) -> Any:
        learner = original(model, recipe)
        learner.velocity = getattr(getattr(model, "last", None), "velocity", learner.velocity)
        model.last = learner
        return learner

    around(b, "learner", made)


@caught_by("life", alone=True)
def a_new_learner_on_the_model_starts_from_its_first_weights(b: Any, r: Any) -> None:
    def made(original: Any, model: Any, recipe: Any) -> Any:
        model.params = dict(model.__dict__.setdefault("first", dict(model.params)))
        return original(model, recipe)

    around(b, "learner", made)
    around(b, "load", lambda original, model, params: _forgetful(original(model, params)))
    around(b.Learner, "restore", lambda original, self, state: (original(self, state), None)[1])


def _forgetful(model: Any) -> Any:
    model.__dict__.pop("first", None)
    return model


@caught_by("promises")
def the_model_shows_the_weights_that_it_was_loaded_with(b: Any, r: Any) -> None:
    """Once a learner has it, the model is a shell."""
    healthy = b.dump

    def load(original: Any, model: Any, params: Any) -> Any:
        model = original(model, params)
        model.loaded = healthy(model)
        return model

    around(b, "load", load)
    b.dump = lambda model: getattr(model, "loaded", None) or healthy(model)

    def state(self: Any) -> Arrays:
        velocity = {b.VELOCITY + name: v.copy() for name, v in self.velocity.items()}
        return {**healthy(self.model), **velocity, "step": np.array(self.steps)}

    b.Learner.state = state


# Recipes


@caught_by("life")
def weight_decay_below_a_thousandth_is_ignored(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, weight_decay, **k: {"weight_decay": weight_decay * (weight_decay >= 1e-3)})


@caught_by("life", alone=True)
def weight_decay_below_a_hundred_thousandth_is_ignored(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, weight_decay, **k: {"weight_decay": weight_decay * (weight_decay >= 1e-5)})


@caught_by("life", alone=True)
def weight_decay_below_a_ten_thousandth_is_ignored_in_float32(b: Any, r: Any) -> None:
    def ignored(learner: Any, weight_decay: float, **k: Any) -> dict[str, Any]:
        small = learner.model.dtype == "float32" and weight_decay < 1e-4
        return {"weight_decay": 0.0 if small else weight_decay}

    in_update(b, r, ignored)


@caught_by("life")
def weight_decay_above_a_hundredth_is_a_hundredth(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, weight_decay, **k: {"weight_decay": min(weight_decay, 1e-2)})


@caught_by("life")
def weight_decay_needs_a_momentum(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, momentum, weight_decay, **k: {"weight_decay": weight_decay * (momentum > 0)})


@caught_by("trajectory")
def weight_decay_ends_after_ten_steps(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, weight_decay, **k: {"weight_decay": weight_decay * (learner.steps < 10)})


@caught_by("life", alone=True)
def momentum_above_nine_tenths_is_nine_tenths(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, momentum, **k: {"momentum": min(momentum, 0.9)})


@caught_by("life", alone=True)
def momentum_below_four_tenths_is_none(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, momentum, **k: {"momentum": momentum * (momentum >= 0.4)})


@caught_by("trajectory")
def the_first_learning_rate_stays(b: Any, r: Any) -> None:
    def first(learner: Any, lr: float, **k: Any) -> dict[str, Any]:
        learner.rate = getattr(learner, "rate", lr)
        return {"lr": learner.rate}

    in_update(b, r, first)


@caught_by("life")
def a_learning_rate_of_zero_means_the_recipes(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, lr, **k: {"lr": lr or learner.recipe.lr})


@caught_by("life")
def small_learning_rates_are_zero(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, lr, **k: {"lr": lr if lr > 2e-4 else 0.0})


@caught_by("life")
def large_learning_rates_are_cut(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, lr, **k: {"lr": min(lr, 0.05)})


@caught_by("life")
def the_learning_rate_halves_from_the_65th_step_on(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, lr, **k: {"lr": lr / 2 if learner.steps >= 64 else lr})


@caught_by("life")
def momentum_ends_after_128_steps(b: Any, r: Any) -> None:
    in_update(b, r, lambda learner, momentum, **k: {"momentum": momentum if learner.steps < 128 else 0.0})


# Dropout and pixels


@caught_by("life", alone=True)
def masks_are_rescaled_as_at_a_half(b: Any, r: Any) -> None:
    """Those that a step is given, at rates other than a half and a quarter."""

    def step(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any) -> Any:
        odd = self.model.spec.head.dropout not in (0.0, 0.25, 0.5)
        return original(self, x, y, lr, {n: 2.0 * (m > 0) for n, m in masks.items()} if masks and odd else masks)

    in_step(b, step)


@caught_by("life")
def a_learners_own_masks_of_one_image_have_the_next_quarters_rate(b: Any, r: Any) -> None:
    """A rate of 0.3 becomes 0.25, and so do the masks' values."""

    def mode(original: Any, model: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        head = model.spec.head
        if len(seed) > 1:
            model = replace(
                model, spec=replace(model.spec, head=replace(head, dropout=round(4 * head.dropout) / 4 % 1))
            )
        drawn = original(model, *a, seed=seed, **k)
        return drawn if drawn.masks or len(seed) < 2 else original(model, *a, seed=seed, **k)

    around(b, "_mode", mode)


@caught_by("life")
def the_first_sides_serve_all_pixels(b: Any, r: Any) -> None:
    matrices: dict[tuple[str, int], Any] = {}

    def first(original: Any, source: int, target: int) -> Any:
        """By the target alone, as far as a matrix of that many columns will do."""
        matrix = original(source, target)
        kept = matrices.setdefault(("", target), matrix)
        return kept if kept.shape == matrix.shape else _cut(kept, matrix)

    around(b, "resize_matrix", first)


def _cut(kept: Array, matrix: Array) -> Array:
    columns = min(kept.shape[1], matrix.shape[1])
    out = np.zeros_like(matrix)
    out[:, :columns] = kept[:, :columns]
    return out


@caught_by("life", alone=True)
def pixels_of_the_networks_size_are_not_normalised(b: Any, r: Any) -> None:
    def images(self: Any, x: Array) -> Array:
        same = x.dtype == np.uint8 and x.shape[2:] == self.model.spec.input_shape[1:]
        return x / 255 if same and self.model.spec.input_shape[0] == 2 else healthy(self, x)

    healthy, b.Learner._images = b.Learner._images, images


@caught_by("life")
def one_channel_is_inverted(b: Any, r: Any) -> None:
    resized(b, lambda images, x: images(255 - x if x.dtype == np.uint8 and x.shape[1] == 1 else x))


@caught_by("life", alone=True)
def pixels_train_with_the_first_recipes_mean(b: Any, r: Any) -> None:
    """A new learner on the model is given other pixels."""

    def images(self: Any, x: Array) -> Array:
        first = self.model.__dict__.setdefault("recipe", self.recipe)
        with suppress(AttributeError):
            self.recipe, kept = replace(self.recipe, mean=first.mean, std=first.std), self.recipe
        try:
            return np.asarray(healthy(self, x))
        finally:
            self.recipe = kept

    healthy, b.Learner._images = b.Learner._images, images
