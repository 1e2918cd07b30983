"""Saboteurs: the oracle as a backend, each with one fault, and the check that must catch it.

A saboteur is a function of two modules, private copies of ``vgg_oracle`` (the backend) and of ``vgg.reference`` (what
it computes with), and breaks one of them. The suite itself goes on with the healthy ones.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import vgg.reference
from vgg import BackendError
from vgg.client import Array, Jobs
from vgg.wire import Arrays
from vgg.worker import Session

ORACLE = Path(__file__).parent / "plugin_backend" / "vgg_oracle.py"
Sabotage = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Saboteur:
    """A fault, the check meant for it, and whether no other check may notice it."""

    name: str
    check: str
    alone: bool
    sabotage: Sabotage


SABOTEURS: dict[str, Saboteur] = {}


def caught_by(check: str, *, alone: bool = False) -> Callable[[Sabotage], Sabotage]:
    """Enlist a saboteur."""

    def enlist(sabotage: Sabotage) -> Sabotage:
        name = sabotage.__name__.replace("_", " ")
        SABOTEURS[name] = Saboteur(name, check, alone, sabotage)
        return sabotage

    return enlist


class Inside(Jobs):
    """A backend in this process: every array copied on its way, as between processes."""

    def __init__(self, sabotage: Sabotage | None = None) -> None:
        reference, oracle = _copied("vgg._sabotaged", Path(vgg.reference.__file__)), _copied("sabotaged_oracle", ORACLE)
        oracle.reference = reference
        if sabotage:
            sabotage(oracle, reference)
        self.session = Session("sabotaged_oracle", lambda _: None)

    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        try:
            result, out = getattr(self.session, job)({n: a.copy() for n, a in (arrays or {}).items()}, **arguments)
        except Exception as error:
            raise BackendError(f"{job}: {type(error).__name__}: {error}") from error
        return result, {name: array.copy() for name, array in out.items()}


@dataclass
class Bench:
    """What a cell may use: the saboteur, once more with nothing left over, and the healthy oracle."""

    sabotage: Sabotage | None = None

    def __post_init__(self) -> None:
        self._worker, self._healthy = Inside(self.sabotage), Inside()

    def worker(self) -> Inside:
        return self._worker

    def fresh(self) -> AbstractContextManager[Inside]:
        return nullcontext(Inside(self.sabotage))

    def source(self, name: str) -> Inside:
        return self._healthy


def _copied(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _around(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace ``module.name`` by ``wrapper(original, *arguments)``."""
    original = getattr(module, name)
    setattr(module, name, lambda *a, **k: wrapper(original, *a, **k))


def _kind(r: Any, kind: str, wrapper: Callable[..., Any], *, backward: bool = False) -> None:
    """Replace a layer kind's rule likewise."""
    rules = r._BACKWARD if backward else r._FORWARD
    original = rules[kind]
    rules[kind] = lambda *a: wrapper(original, *a)


def _inputs(own_too: Callable[[Arrays], Arrays]) -> Callable[..., Any]:
    return lambda original, row, own, *rest: original(row, own_too(own), *rest)


# Structure


@caught_by("structure")
def empty_trace(b: Any, r: Any) -> None:
    _around(b, "trace", lambda original, *a, **k: {})


@caught_by("structure")
def a_layer_dropped(b: Any, r: Any) -> None:
    def shorter(original: Any, spec: Any) -> Any:
        return tuple(row for row in original(spec) if row.name != "block3.relu1")

    _around(r, "expand", shorter)


@caught_by("structure", alone=True)
def fifth_block_dropped(b: Any, r: Any) -> None:
    _around(b, "build", lambda original, spec, **k: original(replace(spec, blocks=spec.blocks[:4]), **k))


@caught_by("structure")
def ceil_instead_of_floor_pooling(b: Any, r: Any) -> None:
    def ceil(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return (
            original(row, own, x, tape, mode)
            if x.shape[2] % 2 == 0
            else np.pad(original(row, own, x, tape, mode), ((0, 0), (0, 0), (0, 1), (0, 0)))
        )

    _kind(r, "max_pool", ceil)


@caught_by("forward")
def names_permuted(b: Any, r: Any) -> None:
    def swapped(original: Any, *a: Any, **k: Any) -> Any:
        found = original(*a, **k)
        names = list(found)
        return {**found, names[0]: found[names[1]], names[1]: found[names[0]]}

    _around(b, "trace", swapped)


# Forward


@caught_by("forward")
def flattened_in_hwc(b: Any, r: Any) -> None:
    def hwc(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        original(row, own, x, tape, mode)
        return x.transpose(0, 2, 3, 1).reshape(len(x), -1)

    _kind(r, "flatten", hwc)


@caught_by("forward")
def height_and_width_swapped(b: Any, r: Any) -> None:
    def swapped(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        original(row, own, x, tape, mode)
        return x.transpose(0, 1, 3, 2).reshape(len(x), -1)

    _kind(r, "flatten", swapped)


@caught_by("forward")
def kernel_flipped(b: Any, r: Any) -> None:
    _kind(r, "conv", _inputs(lambda own: {**own, "weight": own["weight"][:, :, ::-1, ::-1]}))


@caught_by("forward")
def kernel_transposed(b: Any, r: Any) -> None:
    _kind(r, "conv", _inputs(lambda own: {**own, "weight": own["weight"].swapaxes(2, 3)}))


@caught_by("forward")
def input_and_output_swapped_in_a_square_layer(b: Any, r: Any) -> None:
    def swapped(own: Arrays) -> Arrays:
        weight = own["weight"]
        return {**own, "weight": weight.swapaxes(0, 1) if weight.shape[0] == weight.shape[1] else weight}

    _kind(r, "conv", _inputs(swapped))


@caught_by("forward")
def input_and_output_swapped_in_a_square_dense_layer(b: Any, r: Any) -> None:
    def swapped(own: Arrays) -> Arrays:
        weight = own["weight"]
        return {**own, "weight": weight.T if weight.shape[0] == weight.shape[1] else weight}

    _kind(r, "dense", _inputs(swapped))


@caught_by("forward")
def last_relu_missing(b: Any, r: Any) -> None:
    def missing(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        return x if row.name == "fc2.relu" else out

    _kind(r, "relu", missing)


@caught_by("forward")
def bias_missing(b: Any, r: Any) -> None:
    _kind(r, "conv", _inputs(lambda own: {**own, "bias": 0 * own["bias"]}))


@caught_by("forward")
def padding_off_by_one_side(b: Any, r: Any) -> None:
    def shifted(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        p = row.attributes["padding"]
        return original(row, own, np.pad(x, ((0, 0), (0, 0), (0, p), (0, 0)))[:, :, p:], tape, mode)

    _kind(r, "conv", shifted)


@caught_by("forward")
def average_instead_of_max_pooling(b: Any, r: Any) -> None:
    def average(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        original(row, own, x, tape, mode)
        seen = r._taps(x, row.attributes["kernel"], row.attributes["stride"], row.output_shape)
        return np.mean([view for *_, view in seen], axis=0)

    _kind(r, "max_pool", average)


@caught_by("forward")
def softmax_on_the_logits(b: Any, r: Any) -> None:
    def softmax(original: Any, *a: Any, **k: Any) -> Any:
        e = np.exp(original(*a, **k))
        return e / e.sum(axis=1, keepdims=True)

    _around(b, "forward", softmax)


@caught_by("forward", alone=True)
def train_mode_forward_ignores_its_masks_scale(b: Any, r: Any) -> None:
    """``forward`` alone, in train mode alone: nothing but the last line of the forward check looks there."""
    _around(b, "forward", lambda original, model, x, *, train=False: original(model, x, train=train) * (1 + train))


@caught_by("forward")
def batch_norm_epsilon(b: Any, r: Any) -> None:
    r.BATCH_NORM_EPSILON = 1e-3


@caught_by("forward")
def batch_norm_uses_batch_statistics_in_eval(b: Any, r: Any) -> None:
    def batch(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode._replace(train=True))
        if not mode.train:
            for part in ("running_mean", "running_var"):
                del tape.statistics[f"{row.name}.{part}"]
        return out

    _kind(r, "batch_norm", batch)


@caught_by("forward")
def lrn_alpha_divided_by_its_window(b: Any, r: Any) -> None:
    r.LRN_ALPHA = r.LRN_ALPHA / r.LRN_SIZE


@caught_by("forward")
def float32_inside_a_float64_model(b: Any, r: Any) -> None:
    _kind(r, "dense", lambda original, row, own, x, *rest: original(row, own, x.astype(np.float32), *rest))


@caught_by("forward")
def tf32_inside_float32(b: Any, r: Any) -> None:
    _inside_float32(b, 10)


@caught_by("forward")
def bf16_inside_float32(b: Any, r: Any) -> None:
    _inside_float32(b, 7)


@caught_by("forward")
def not_a_number(b: Any, r: Any) -> None:
    def spoilt(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        return np.where(np.arange(out.size).reshape(out.shape) == 3, np.nan, out)

    _kind(r, "dense", spoilt)


@caught_by("forward")
def constant_output(b: Any, r: Any) -> None:
    _around(b, "forward", lambda original, *a, **k: np.zeros_like(original(*a, **k)))


@caught_by("forward")
def parameter_shared_by_mistake(b: Any, r: Any) -> None:
    def shared(original: Any, row: Any, weights: Any) -> Any:
        one, other = weights.get("fc2.weight"), weights.get("fc3.weight")
        same = row.name == "fc2" and other is not None and one.shape == other.shape
        return {part: weights[f"fc3.{part}"] for part in ("weight", "bias")} if same else original(row, weights)

    _around(r, "_own", shared)


@caught_by("forward")
def input_mutated_in_place(b: Any, r: Any) -> None:
    def scaled(original: Any, model: Any, x: Any, **k: Any) -> Any:
        out = original(model, x, **k)
        x *= 0.5
        return out

    _around(b, "forward", scaled)


# Backward


@caught_by("backward")
def softmax_twice_in_the_loss(b: Any, r: Any) -> None:
    def twice(original: Any, logits: Any, y: Any) -> Any:
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return original(e / e.sum(axis=1, keepdims=True), y)

    _around(r, "cross_entropy", twice)


@caught_by("backward", alone=True)
def eval_modes_gradients_in_train_mode(b: Any, r: Any) -> None:
    """``loss_and_grads`` alone: trace, forward and the learner do as they are told."""
    _around(b, "loss_and_grads", lambda original, *a, train=False: original(*a))


@caught_by("backward")
def sum_instead_of_mean_loss(b: Any, r: Any) -> None:
    def summed(original: Any, model: Any, x: Any, y: Any, **k: Any) -> Any:
        loss, grads = original(model, x, y, **k)
        return loss * len(y), {name: g * len(y) for name, g in grads.items()}

    _around(b, "loss_and_grads", summed)


@caught_by("backward")
def gradient_of_one_layer_zero(b: Any, r: Any) -> None:
    _kind(r, "conv", lambda original, row, *rest: _zeroed(original(row, *rest), row.name), backward=True)


@caught_by("backward")
def labels_off_by_one(b: Any, r: Any) -> None:
    _around(r, "cross_entropy", lambda original, logits, y: original(logits, (np.asarray(y) + 1) % logits.shape[1]))


@caught_by("backward")
def relu_lets_every_gradient_through(b: Any, r: Any) -> None:
    _kind(r, "relu", lambda original, row, own, saved, grad: (grad, {}), backward=True)


# Trajectories


@caught_by("trajectory")
def batch_norm_momentums_sense(b: Any, r: Any) -> None:
    _around(b, "_mode", lambda original, *a, **k: original(*a, **k)._replace(keep=0.1))


@caught_by("trajectory")
def batch_norm_does_not_update(b: Any, r: Any) -> None:
    _around(b, "_mode", lambda original, *a, **k: original(*a, **k)._replace(keep=1.0))


@caught_by("trajectory", alone=True)
def momentum_of_mxnets_kind(b: Any, r: Any) -> None:
    """Holds steps, not gradients: right until the learning rate changes."""
    held: dict[str, float] = {}

    def stepwise(original: Any, params: Any, grads: Any, velocity: Any, *, lr: float, **k: Any) -> Any:
        before, held["lr"] = held.get("lr", lr), lr
        return original(params, grads, {n: v * (before / lr if lr else 1) for n, v in velocity.items()}, lr=lr, **k)

    _around(r, "sgd", stepwise)


@caught_by("trajectory")
def weight_decay_decoupled(b: Any, r: Any) -> None:
    def decoupled(original: Any, params: Any, grads: Any, velocity: Any, *, weight_decay: float, **k: Any) -> Any:
        fresh, moving = original(params, grads, velocity, **k)
        return {n: w - k["lr"] * weight_decay * params[n] if n in grads else w for n, w in fresh.items()}, moving

    _around(r, "sgd", decoupled)


@caught_by("trajectory")
def weight_decay_on_nothing(b: Any, r: Any) -> None:
    _around(r, "sgd", lambda original, *a, **k: original(*a, **{**k, "weight_decay": 0.0}))


@caught_by("trajectory")
def weight_decay_not_on_biases(b: Any, r: Any) -> None:
    def chosen(original: Any, params: Any, grads: Any, velocity: Any, *, weight_decay: float, **k: Any) -> Any:
        decayed = {n: g + weight_decay * params[n] * (params[n].ndim > 1) for n, g in grads.items()}
        return original(params, decayed, velocity, **k)

    _around(r, "sgd", chosen)


@caught_by("trajectory")
def nesterov(b: Any, r: Any) -> None:
    def ahead(original: Any, params: Any, grads: Any, velocity: Any, *, lr: float, momentum: float, **k: Any) -> Any:
        _, moving = original(params, grads, velocity, lr=lr, momentum=momentum, **k)
        return {n: w - lr * (grads[n] + momentum * moving[n]) if n in grads else w for n, w in params.items()}, moving

    _around(r, "sgd", ahead)


@caught_by("trajectory")
def gradient_clipped(b: Any, r: Any) -> None:
    def clipped(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        return original(params, {n: g / max(norm, 1.0) for n, g in grads.items()}, *a, **k)

    _around(r, "sgd", clipped)


@caught_by("trajectory")
def gradients_accumulate(b: Any, r: Any) -> None:
    """Stale state: nobody set the gradients back to zero."""
    held: Arrays = {}

    def stale(original: Any, params: Any, grads: Any, *a: Any, **k: Any) -> Any:
        for name, g in grads.items():
            held[name] = g + (held[name] if name in held and held[name].shape == g.shape else 0.0)
        return original(params, dict(held), *a, **k)

    _around(r, "sgd", stale)


@caught_by("trajectory")
def learning_rate_of_the_step_before(b: Any, r: Any) -> None:
    held: dict[str, float] = {}

    def late(original: Any, *a: Any, lr: float, **k: Any) -> Any:
        before, held["lr"] = held.get("lr", lr), lr
        return original(*a, lr=before, **k)

    _around(r, "sgd", late)


# Parameters


@caught_by("round_trip")
def load_ignores_one_tensor(b: Any, r: Any) -> None:
    def deaf(original: Any, model: Any, params: Any) -> Any:
        return original(model, {**params, "fc1.bias": model.params["fc1.bias"]})

    _around(b, "load", deaf)


@caught_by("round_trip", alone=True)
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

    _around(b, "build", built)
    b.dump = lambda model: dict(initial)
    b.Learner.state = _state(b, healthy)


@caught_by("exchange", alone=True)
def load_works_once(b: Any, r: Any) -> None:
    """Lazy initialisation that takes a model with values for one that is done."""

    def once(original: Any, model: Any, params: Any) -> Any:
        if getattr(model, "filled", False):
            return model
        model = original(model, params)
        model.filled = True
        return model

    _around(b, "load", once)
    b.Learner.restore = _restored(b)


# Modes and masks


@caught_by("modes")
def dropout_alive_in_eval(b: Any, r: Any) -> None:
    _kind(
        r, "dropout", lambda original, row, own, x, tape, mode: original(row, own, x, tape, mode._replace(train=True))
    )


@caught_by("modes", alone=True)
def dropout_dead_in_training(b: Any, r: Any) -> None:
    """Outside the learner, whose masks are its own."""
    _masks(b, lambda mask, seed: mask if len(seed) > 1 else np.ones_like(mask))


@caught_by("modes")
def dropout_not_rescaled(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: (mask > 0).astype(float))


@caught_by("modes")
def dropout_rate_wrong(b: Any, r: Any) -> None:
    """Takes the rate for the share to keep: right for a half."""
    _around(b, "_mode", lambda original, model, *a, **k: original(_swapped_rate(model), *a, **k))


@caught_by("modes")
def one_dropout_mask_for_all_images(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.broadcast_to(mask[:1], mask.shape))


@caught_by("modes")
def dropout_drops_units_in_pairs(b: Any, r: Any) -> None:
    _masks(b, lambda mask, seed: np.repeat(mask, 2, axis=1)[:, : mask.shape[1]])


# Learners


@caught_by("learning", alone=True)
def pixels_divided_by_256(b: Any, r: Any) -> None:
    _around(b, "resize_matrix", lambda original, source, target: original(source, target) * np.sqrt(255 / 256))


@caught_by("resuming", alone=True)
def steps_counted_outside_the_state(b: Any, r: Any) -> None:
    """A global counter seeds the masks: right in one process, wrong in the next."""
    count = iter(range(1 << 30))
    _around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=_counted(seed, count), **k))


@caught_by("resuming")
def the_seed_is_ignored(b: Any, r: Any) -> None:
    _around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=(0, *seed[1:]), **k))


@caught_by("resuming")
def one_mask_for_all_steps(b: Any, r: Any) -> None:
    _around(b, "_mode", lambda original, *a, seed=(0,), **k: original(*a, seed=seed[:1], **k))


@caught_by("repeatable", alone=True)
def nondeterminism_from_call_to_call(b: Any, r: Any) -> None:
    """The last bit of float32 wavers, as it does where atomics add up gradients."""
    wavering = iter(range(1 << 30))

    def noisy(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(model, *a, **k)
        off = 1 + 2.0**-23 * (next(wavering) % 2) if model.dtype == "float32" else 1.0
        return loss, {name: (g * off).astype(model.dtype) for name, g in grads.items()}

    _around(b, "loss_and_grads", noisy)


@caught_by("properties", alone=True)
def even_kernels_padded_wrongly(b: Any, r: Any) -> None:
    def even(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return original(row, own, np.roll(x, 1, axis=2) if row.attributes["kernel"] == 2 else x, tape, mode)

    _kind(r, "conv", even)


def _inside_float32(b: Any, bits: int) -> None:
    """What a matrix unit of that format reads, in float32 models alone."""

    def coarse(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        params = {name: _coarse(array, bits) for name, array in model.params.items()}
        return original(replace(model, params=params) if model.dtype == "float32" else model, *a, **k)

    for name in ("forward", "trace", "loss_and_grads"):
        _around(b, name, coarse)


def _coarse(x: Array, bits: int) -> Array:
    """Rounded to a mantissa of that many bits."""
    fraction, exponent = np.frexp(x)
    coarse: Array = np.ldexp(np.round(np.ldexp(fraction, bits + 1)), exponent - bits - 1)
    return coarse


def _zeroed(result: Any, name: str) -> Any:
    grad, own = result
    return grad, {part: 0 * g if name == "block2.conv1" else g for part, g in own.items()}


def _masks(b: Any, changed: Callable[[Array, tuple[int, ...]], Array]) -> None:
    def mode(original: Any, *a: Any, seed: tuple[int, ...] = (0,), **k: Any) -> Any:
        drawn = original(*a, seed=seed, **k)
        return drawn._replace(masks={name: changed(mask, seed) for name, mask in drawn.masks.items()})

    _around(b, "_mode", mode)


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
