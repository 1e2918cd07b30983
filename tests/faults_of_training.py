"""Saboteurs of trajectories, parameters, modes and learners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import around, caught_by, coarse, of_kind

from vgg.process.client import Array
from vgg.process.wire import Arrays

# Trajectories


@caught_by("trajectory")
def batch_norm_momentums_sense(b: Any, r: Any) -> None:
    around(b, "_mode", lambda original, *a, **k: original(*a, **k)._replace(keep=0.1))


@caught_by("trajectory")
def batch_norm_does_not_update(b: Any, r: Any) -> None:
    around(b, "_mode", lambda original, *a, **k: original(*a, **k)._replace(keep=1.0))


@caught_by("trajectory")
def learning_rate_warms_up(b: Any, r: Any) -> None:
    def warmer(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any = None) -> Any:
        return original(self, x, y, lr / 2 if self.steps == 1 else lr, masks)

    around(b.Learner, "step", warmer)


@caught_by("trajectory")
def momentum_of_mxnets_kind(b: Any, r: Any) -> None:
    """Holds steps, not gradients: right until the learning rate changes."""
    held: dict[str, float] = {}

    def stepwise(original: Any, params: Any, grads: Any, velocity: Any, *, lr: float, **k: Any) -> Any:
        before, held["lr"] = held.get("lr", lr), lr
        return original(params, grads, {n: v * (before / lr if lr else 1) for n, v in velocity.items()}, lr=lr, **k)

    around(r, "sgd", stepwise)


@caught_by("trajectory")
def weight_decay_decoupled(b: Any, r: Any) -> None:
    def decoupled(original: Any, params: Any, grads: Any, velocity: Any, *, weight_decay: float, **k: Any) -> Any:
        fresh, moving = original(params, grads, velocity, **k)
        return {n: w - k["lr"] * weight_decay * params[n] if n in grads else w for n, w in fresh.items()}, moving

    around(r, "sgd", decoupled)


@caught_by("trajectory")
def weight_decay_on_nothing(b: Any, r: Any) -> None:
    around(r, "sgd", lambda original, *a, **k: original(*a, **{**k, "weight_decay": 0.0}))


@caught_by("trajectory")
def weight_decay_not_on_biases(b: Any, r: Any) -> None:
    def chosen(original: Any, params: Any, grads: Any, velocity: Any, *, weight_decay: float, **k: Any) -> Any:
        decayed = {n: g + weight_decay * params[n] * (params[n].ndim > 1) for n, g in grads.items()}
        return original(params, decayed, velocity, **k)

    around(r, "sgd", chosen)


@caught_by("trajectory")
def nesterov(b: Any, r: Any) -> None:
    def ahead(original: Any, params: Any, grads: Any, velocity: Any, *, lr: float, momentum: float, **k: Any) -> Any:
        _, moving = original(params, grads, velocity, lr=lr, momentum=momentum, **k)
        return {n: w - lr * (grads[n] + momentum * moving[n]) if n in grads else w for n, w in params.items()}, moving

    around(r, "sgd", ahead)


@caught_by("trajectory")
def gradient_clipped(b: Any, r: Any) -> None:
    def clipped(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        return original(params, {n: g / max(norm, 1.0) for n, g in grads.items()}, *a, **k)

    around(r, "sgd", clipped)


@caught_by("trajectory")
def gradients_accumulate(b: Any, r: Any) -> None:
    """Stale state: nobody set the gradients back to zero."""
    held: Arrays = {}

    def stale(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        for name, g in grads.items():
            held[name] = g + (held[name] if name in held and held[name].shape == g.shape else 0.0)
        return original(params, dict(held), *a, **k)

    around(r, "sgd", stale)


@caught_by("trajectory")
def learning_rate_of_the_step_before(b: Any, r: Any) -> None:
    held: dict[str, float] = {}

    def late(original: Any, *a: Any, lr: float, **k: Any) -> Any:
        before, held["lr"] = held.get("lr", lr), lr
        return original(*a, lr=before, **k)

    around(r, "sgd", late)


# Parameters


@caught_by("round_trip")
def load_ignores_one_tensor(b: Any, r: Any) -> None:
    def deaf(original: Any, model: Any, params: Any) -> Any:
        return original(model, {**params, "fc1.bias": model.params["fc1.bias"]})

    around(b, "load", deaf)


@caught_by("round_trip")
def dump_rounds_to_float32(b: Any, r: Any) -> None:
    healthy = b.dump
    b.dump = lambda model: {n: a.astype(np.float32).astype(a.dtype) for n, a in healthy(model).items()}
    b.Learner.state = _state(b, healthy)


@caught_by("round_trip")
def dump_returns_the_initial_values(b: Any, r: Any) -> None:
    healthy = b.dump
    initial: Arrays = {}

    def built(original: Any, *a: Any, **k: Any) -> Any:
        model = original(*a, **k)
        initial.clear()
        initial.update(healthy(model))
        return model

    around(b, "build", built)
    b.dump = lambda model: dict(initial)
    b.Learner.state = _state(b, healthy)


@caught_by("exchange")
def load_works_once(b: Any, r: Any) -> None:
    """Lazy initialisation that takes a model with values for one that is done."""

    def once(original: Any, model: Any, params: Any) -> Any:
        if getattr(model, "filled", False):
            return model
        model = original(model, params)
        model.filled = True
        return model

    around(b, "load", once)
    b.Learner.restore = _restored(b)


# Modes and masks


@caught_by("modes")
def dropout_alive_in_eval(b: Any, r: Any) -> None:
    of_kind(
        r, "dropout", lambda original, row, own, x, tape, mode: original(row, own, x, tape, mode._replace(train=True))
    )


@caught_by("modes")
def dropout_dead_in_training(b: Any, r: Any) -> None:
    """Outside the learner, whose masks are its own."""
    _masks(b, lambda mask, seed: mask if len(seed) > 1 else np.ones_like(mask))


@caught_by("modes")
def dropout_not_rescaled(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: (mask > 0).astype(float))


@caught_by("modes")
def dropout_rate_wrong(b: Any, r: Any) -> None:
    """Takes the rate for the share to keep: right for a half."""
    around(b, "_mode", lambda original, model, *a, **k: original(_swapped_rate(model), *a, **k))


@caught_by("modes")
def one_dropout_mask_for_all_images(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.broadcast_to(mask[:1], mask.shape))


@caught_by("modes")
def dropout_drops_units_in_pairs(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.repeat(mask, 2, axis=1)[:, : mask.shape[1]])


@caught_by("modes")
def layers_share_one_dropout_mask(b: Any, r: Any) -> None:
    def shared(original: Any, *a: Any, **k: Any) -> Any:
        mode = original(*a, **k)
        first = next(iter(mode.masks.values()), np.zeros(0))
        return mode._replace(masks={n: first if m.shape == first.shape else m for n, m in mode.masks.items()})

    around(b, "_mode", shared)


@caught_by("modes")
def dropped_units_are_not_zero(b: Any, r: Any) -> None:
    """Outside the learner. The masks that are read off a trace are as wrong, and the oracle believes them."""
    _masks(b, lambda mask, seed: mask if len(seed) > 1 else np.where(mask > 0, mask, -1e-3))


@caught_by("modes")
def dropout_rescales_in_float32(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: mask.astype(np.float32).astype(np.float64))


# Declared differences


@caught_by("declared")
def declares_another_variance_than_it_has(b: Any, r: Any) -> None:
    b.DECLARED = {"running_var": "unbiased"}


@caught_by("declared")
def declares_what_nobody_knows(b: Any, r: Any) -> None:
    b.DECLARED = {**b.DECLARED, "padding": "same"}


@caught_by("declared")
def a_tie_sends_its_gradient_to_nobody(b: Any, r: Any) -> None:
    def pooled(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        window = (row.attributes["kernel"], row.attributes["stride"], row.output_shape)
        holders = sum(seen == out for *_, seen in r._taps(x, *window))
        winner, shape = tape.saved[row.name]
        tape.saved[row.name] = np.where((holders > 1) & (out > 0), -1, winner), shape
        return out

    of_kind(r, "max_pool", pooled)


# Learners


@caught_by("masking")
def gradients_double_where_masks_are_the_learners_own(b: Any, r: Any) -> None:
    def doubled(original: Any, self: Any, x: Any, y: Any, lr: float, masks: Any = None) -> Any:
        own = self.model.spec.head.hidden and self.model.spec.head.dropout and not masks
        self._gradients = lambda grads: {n: (1 + bool(own)) * g for n, g in exact(self, grads).items()}
        return original(self, x, y, lr, masks)

    exact = b.Learner._gradients
    around(b.Learner, "step", doubled)


@caught_by("trajectory")
def a_step_changes_its_batch(b: Any, r: Any) -> None:
    def scaled(original: Any, self: Any, x: Any, *a: Any, **k: Any) -> Any:
        loss = original(self, x, *a, **k)
        np.divide(x, 2, out=x, casting="unsafe")
        return loss

    around(b.Learner, "step", scaled)


@caught_by("relay")
def restoring_changes_the_state_that_is_given(b: Any, r: Any) -> None:
    def spent(original: Any, self: Any, state: Any) -> None:
        original(self, state)
        for array in state.values():
            array[...] = 0

    around(b.Learner, "restore", spent)


@caught_by("repeatable")
def nondeterminism_from_step_to_step(b: Any, r: Any) -> None:
    """Every other one is off in the last bits of float32."""
    wavering = iter(range(1 << 30))

    def noisy(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        return original(self, *a, **k) * (1 + 2.0**-22 * (next(wavering) % 2))

    around(b.Learner, "step", noisy)


@caught_by("masking")
def dropout_not_rescaled_in_the_learner(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: (mask > 0).astype(float) if len(seed) > 1 else mask)


@caught_by("masking", alone=True)
def one_mask_for_all_images_of_a_step(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.broadcast_to(mask[:1], mask.shape) if len(seed) > 1 else mask)


@caught_by("masking")
def dropout_dead_in_the_learner(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.ones_like(mask) if len(seed) > 1 else mask)


@caught_by("masking")
def dropout_dead_in_the_learners_second_layer(b: Any, r: Any) -> None:
    _learners_second_mask(b, lambda first, mask: np.ones_like(mask))


@caught_by("masking", alone=True)
def layers_share_one_mask_in_the_learner(b: Any, r: Any) -> None:
    _learners_second_mask(b, lambda first, mask: first if first.shape == mask.shape else mask)


@caught_by("masking", alone=True)
def one_mask_for_all_images_of_a_step_in_the_second_layer(b: Any, r: Any) -> None:
    _learners_second_mask(b, lambda first, mask: np.broadcast_to(mask[:1], mask.shape))


@caught_by("learning")
def lrn_alpha_divided_in_the_learner(b: Any, r: Any) -> None:
    _in_steps(b, lambda: setattr(r, "LRN_ALPHA", alpha / r.LRN_SIZE), lambda: setattr(r, "LRN_ALPHA", alpha))
    alpha = r.LRN_ALPHA


@caught_by("learning")
def global_pool_passes_twice_the_gradient_in_the_learner(b: Any, r: Any) -> None:
    def doubled(*a: Any) -> Any:
        grad, own = healthy(*a)
        return 2 * grad, own

    rules, name = r._BACKWARD, "global_avg_pool"
    healthy = rules[name]
    _in_steps(b, lambda: rules.update({name: doubled}), lambda: rules.update({name: healthy}))


@caught_by("learning")
def learning_rate_doubles_without_momentum(b: Any, r: Any) -> None:
    def doubled(original: Any, *a: Any, lr: float, momentum: float = 0.0, **k: Any) -> Any:
        return original(*a, lr=lr if momentum else 2 * lr, momentum=momentum, **k)

    around(r, "sgd", doubled)


@caught_by("trajectory")
def sum_instead_of_mean_loss_in_the_learner(b: Any, r: Any) -> None:
    def summed(*a: Any) -> Any:
        loss, grads, tape = healthy(*a)
        return loss * len(a[3]), {n: g * len(a[3]) for n, g in grads.items()}, tape

    healthy = r.loss_and_grads
    _in_steps(b, lambda: setattr(r, "loss_and_grads", summed), lambda: setattr(r, "loss_and_grads", healthy))


@caught_by("trajectory")
def bf16_in_the_learner(b: Any, r: Any) -> None:
    _coarse_steps(r, 7)


@caught_by("precision")
def tf32_in_the_learner(b: Any, r: Any) -> None:
    _coarse_steps(r, 10)


@caught_by("repeatable")
def running_statistics_move_in_forward(b: Any, r: Any) -> None:
    def moved(original: Any, model: Any, x: Any, *, train: bool = False) -> Any:
        out = original(model, x, train=train)
        moving = {n: a / 2 for n, a in model.params.items() if train and n.endswith("running_mean")}
        model.params |= moving
        return out

    around(b, "forward", moved)


@caught_by("relay")
def restoring_by_the_order_of_names(b: Any, r: Any) -> None:
    """Right as long as the state comes from this very backend."""

    def restored(original: Any, self: Any, state: Any) -> None:
        in_turn = zip(self.state(), state.values(), strict=True)
        original(self, {name: a if a.shape == state[name].shape else state[name] for name, a in in_turn})

    around(b.Learner, "restore", restored)


@caught_by("repeatable", alone=True)
def loss_wavers(b: Any, r: Any) -> None:
    wavering = iter(range(1 << 30))

    def noisy(original: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(*a, **k)
        return loss * (1 + 1e-13 * (next(wavering) % 2)), grads

    around(b, "loss_and_grads", noisy)


@caught_by("learning")
def pixels_divided_by_256(b: Any, r: Any) -> None:
    around(b, "resize_matrix", lambda original, source, target: original(source, target) * np.sqrt(255 / 256))


@caught_by("precision")
def fp16_is_float32(b: Any, r: Any) -> None:
    b.Learner._narrow = lambda self, array: array


@caught_by("precision", alone=True)
def fp16_in_training_alone(b: Any, r: Any) -> None:
    def exact(self: Any, x: Array) -> Any:
        wide = copy(self)
        wide.recipe = replace(self.recipe, precision="float32")
        return evaluate(wide, x)

    evaluate, b.Learner.evaluate = b.Learner.evaluate, exact


@caught_by("precision")
def fp16_parameters(b: Any, r: Any) -> None:
    """No float32 copy that small steps add up in."""

    def halved(self: Any) -> Any:
        self.model.params = {n: self._narrow(a).astype(a.dtype) for n, a in self.model.params.items()}
        return original(self)

    original, b.Learner.state = b.Learner.state, halved


@caught_by("precision")
def loss_scale_stays_in_the_gradients(b: Any, r: Any) -> None:
    def scaled(self: Any, grads: Arrays) -> Arrays:
        factor = b.LOSS_SCALE if self.recipe.precision == "fp16" else 1.0
        return {n: g * factor for n, g in original(self, grads).items()}

    original, b.Learner._gradients = b.Learner._gradients, scaled


@caught_by("precision")
def overflowed_gradients_are_applied(b: Any, r: Any) -> None:
    """Cut off at the largest number, and nothing tells."""

    def cut(self: Any, grads: Arrays) -> Arrays:
        return {n: np.nan_to_num(g, posinf=65504.0, neginf=-65504.0) for n, g in original(self, grads).items()}

    original, b.Learner._gradients = b.Learner._gradients, cut


@caught_by("precision", alone=True)
def any_precision_is_accepted(b: Any, r: Any) -> None:
    b.PRECISIONS = {"cpu": ("float64", "float32", "tf32", "bf16", "fp16")}


@caught_by("resuming")
def masks_count_from_the_restart(b: Any, r: Any) -> None:
    """The state says how many steps there were, and the masks heed only those of this learner."""
    now: dict[str, tuple[int, ...]] = {"seed": ()}

    def counted(original: Any, self: Any, *a: Any, **k: Any) -> Any:
        self.taken = getattr(self, "taken", -1) + 1
        now["seed"] = (self.taken,)
        return original(self, *a, **k)

    around(b.Learner, "step", counted)
    around(b, "_mode", lambda o, *a, seed=(0,), **k: o(*a, seed=(seed[0], *now["seed"]) if seed[1:] else seed, **k))


@caught_by("resuming")
def steps_counted_outside_the_state(b: Any, r: Any) -> None:
    """A global counter seeds the masks: right in one process, wrong in the next."""
    count = iter(range(1 << 30))
    around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=_counted(seed, count), **k))


@caught_by("resuming")
def the_seed_is_ignored(b: Any, r: Any) -> None:
    around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=(0, *seed[1:]), **k))


@caught_by("resuming")
def one_mask_for_all_steps(b: Any, r: Any) -> None:
    around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=seed[:1], **k))


@caught_by("repeatable", alone=True)
def nondeterminism_from_call_to_call(b: Any, r: Any) -> None:
    """The last bit of float32 wavers, as it does where atomics add up gradients."""
    wavering = iter(range(1 << 30))

    def noisy(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(model, *a, **k)
        off = 1 + 2.0**-23 * (next(wavering) % 2) if model.dtype == "float32" else 1.0
        return loss, {name: (g * off).astype(model.dtype) for name, g in grads.items()}

    around(b, "loss_and_grads", noisy)


@caught_by("properties")
def even_kernels_padded_wrongly(b: Any, r: Any) -> None:
    def even(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return original(row, own, np.roll(x, 1, axis=2) if row.attributes["kernel"] == 2 else x, tape, mode)

    of_kind(r, "conv", even)


def _masks(b: Any, changed: Callable[[Array, tuple[int, ...]], Array]) -> None:
    def mode(original: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        drawn = original(*a, seed=seed, **k)
        return drawn._replace(masks={name: changed(mask, seed) for name, mask in drawn.masks.items()})

    around(b, "_mode", mode)


def _learners_second_mask(b: Any, changed: Callable[[Array, Array], Array]) -> None:
    """Change the masks of all but the first dropout layer, given that layer's."""

    def mode(original: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        drawn = original(*a, seed=seed, **k)
        first, *others = drawn.masks or ("",)
        masks = {name: changed(drawn.masks[first], drawn.masks[name]) for name in others}
        return drawn._replace(masks={**drawn.masks, **masks}) if len(seed) > 1 else drawn

    around(b, "_mode", mode)


def _in_steps(b: Any, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """A fault that a learner's steps have and nothing else."""

    def faulty(original: Any, *a: Any, **k: Any) -> Any:
        begin()
        try:
            return original(*a, **k)
        finally:
            end()

    around(b.Learner, "step", faulty)


def _coarse_steps(r: Any, bits: int) -> None:
    """The gradients of a float32 step, rounded."""

    def within(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        exact = all(np.array_equal(p, p.astype(np.float32)) for p in params.values())
        return original(params, {n: coarse(g, bits) for n, g in grads.items()} if exact else grads, *a, **k)

    around(r, "sgd", within)


def _swapped_rate(model: Any) -> Any:
    head = model.spec.head
    return replace(model, spec=replace(model.spec, head=replace(head, dropout=1 - head.dropout if head.dropout else 0)))


def _counted(seed: tuple[int, ...], count: Iterator[int]) -> tuple[int, ...]:
    return (seed[0], next(count)) if len(seed) > 1 else seed


def _state(b: Any, dump: Callable[[Any], Arrays]) -> Callable[[Any], Arrays]:
    """``state`` as it was before ``dump`` was broken."""

    def state(self: Any) -> Arrays:
        velocity = {b.VELOCITY + name: v.copy() for name, v in self.velocity.items()}
        return {**dump(self.model), **velocity, "step": np.array(self.steps)}

    return state


def _restored(b: Any) -> Callable[[Any, Any], None]:
    """``restore`` as it was before ``load`` was broken."""

    def restore(self: Any, state: Any) -> None:
        self.model.params = {name: state[name].copy() for name in self.model.params}
        self.velocity = {name: state[b.VELOCITY + name].copy() for name in self.velocity}
        self.steps = int(state["step"])

    return restore
