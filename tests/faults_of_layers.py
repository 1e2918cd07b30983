"""Saboteurs of structure, forward and backward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import around, caught_by, coarse, of_kind, on_own

from vgg.process.wire import Arrays

# Structure


@caught_by("structure")
def empty_trace(b: Any, r: Any) -> None:
    around(b, "trace", lambda original, *a, **k: {})


@caught_by("structure")
def a_layer_dropped(b: Any, r: Any) -> None:
    def shorter(original: Any, spec: Any) -> Any:
        return tuple(row for row in original(spec) if row.name != "block3.relu1")

    around(r, "expand", shorter)


@caught_by("structure")
def fifth_block_dropped(b: Any, r: Any) -> None:
    around(b, "build", lambda original, spec, **k: original(replace(spec, blocks=spec.blocks[:4]), **k))


@caught_by("structure")
def ceil_instead_of_floor_pooling(b: Any, r: Any) -> None:
    def ceil(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return (
            original(row, own, x, tape, mode)
            if x.shape[2] % 2 == 0
            else np.pad(original(row, own, x, tape, mode), ((0, 0), (0, 0), (0, 1), (0, 0)))
        )

    of_kind(r, "max_pool", ceil)


@caught_by("forward")
def names_permuted(b: Any, r: Any) -> None:
    def swapped(original: Any, *a: Any, **k: Any) -> Any:
        found = original(*a, **k)
        names = list(found)
        return {**found, names[0]: found[names[1]], names[1]: found[names[0]]}

    around(b, "trace", swapped)


# Forward


@caught_by("forward")
def flattened_in_hwc(b: Any, r: Any) -> None:
    _flattened(r, (0, 2, 3, 1))


@caught_by("forward")
def height_and_width_swapped(b: Any, r: Any) -> None:
    _flattened(r, (0, 1, 3, 2))


@caught_by("forward")
def kernel_flipped(b: Any, r: Any) -> None:
    of_kind(r, "conv", on_own(lambda own: {**own, "weight": own["weight"][:, :, ::-1, ::-1]}))


@caught_by("forward")
def kernel_transposed(b: Any, r: Any) -> None:
    of_kind(r, "conv", on_own(lambda own: {**own, "weight": own["weight"].swapaxes(2, 3)}))


@caught_by("forward")
def input_and_output_swapped_in_a_square_layer(b: Any, r: Any) -> None:
    def swapped(own: Arrays) -> Arrays:
        weight = own["weight"]
        return {**own, "weight": weight.swapaxes(0, 1) if weight.shape[0] == weight.shape[1] else weight}

    of_kind(r, "conv", on_own(swapped))


@caught_by("forward")
def input_and_output_swapped_in_a_square_dense_layer(b: Any, r: Any) -> None:
    def swapped(own: Arrays) -> Arrays:
        weight = own["weight"]
        return {**own, "weight": weight.T if weight.shape[0] == weight.shape[1] else weight}

    of_kind(r, "dense", on_own(swapped))


@caught_by("forward")
def last_relu_missing(b: Any, r: Any) -> None:
    def missing(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode)
        return x if row.name == "fc2.relu" else out

    of_kind(r, "relu", missing)


@caught_by("forward")
def bias_missing(b: Any, r: Any) -> None:
    of_kind(r, "conv", on_own(lambda own: {**own, "bias": 0 * own["bias"]}))


@caught_by("forward")
def padding_off_by_one_side(b: Any, r: Any) -> None:
    def shifted(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        p = row.attributes["padding"]
        return original(row, own, np.pad(x, ((0, 0), (0, 0), (0, p), (0, 0)))[:, :, p:], tape, mode)

    of_kind(r, "conv", shifted)


@caught_by("forward")
def average_instead_of_max_pooling(b: Any, r: Any) -> None:
    def average(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        original(row, own, x, tape, mode)
        seen = r._taps(x, row.attributes["kernel"], row.attributes["stride"], row.output_shape)
        return np.mean([view for *_, view in seen], axis=0)

    of_kind(r, "max_pool", average)


@caught_by("forward")
def pools_leave_out_the_near_side(b: Any, r: Any) -> None:
    """Where windows do not fill a map, what is left over lies at its end; here it lies at its start."""
    left: dict[str, tuple[int, ...]] = {}

    def cropped(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        kernel, stride = row.attributes["kernel"], row.attributes["stride"]
        down, across = left[row.name] = tuple((side - kernel) % stride for side in x.shape[2:])
        return original(row, own, x[:, :, down:, across:], tape, mode)

    def padded(original: Any, row: Any, *rest: Any) -> Any:
        grad, own = original(row, *rest)
        down, across = left[row.name]
        return np.pad(grad, ((0, 0), (0, 0), (down, 0), (across, 0))), own

    of_kind(r, "max_pool", cropped)
    of_kind(r, "max_pool", padded, backward=True)


@caught_by("forward")
def softmax_on_the_logits(b: Any, r: Any) -> None:
    def softmax(original: Any, *a: Any, **k: Any) -> Any:
        e = np.exp(original(*a, **k))
        return e / e.sum(axis=1, keepdims=True)

    around(b, "forward", softmax)


@caught_by("forward")
def train_mode_forward_doubles_its_logits(b: Any, r: Any) -> None:
    """``forward`` alone, in train mode alone: nothing but the last line of the forward check looks there."""
    around(b, "forward", lambda original, model, x, *, train=False: original(model, x, train=train) * (1 + train))


@caught_by("forward")
def batch_norm_epsilon(b: Any, r: Any) -> None:
    of_kind(r, "batch_norm", lambda normal, *a: normal(*a[:-1], a[-1]._replace(epsilon=1e-3)))


@caught_by("forward")
def batch_norm_uses_batch_statistics_in_eval(b: Any, r: Any) -> None:
    def batch(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        out = original(row, own, x, tape, mode._replace(train=True))
        if not mode.train:
            for part in ("running_mean", "running_var"):
                del tape.statistics[f"{row.name}.{part}"]
        return out

    of_kind(r, "batch_norm", batch)


@caught_by("forward")
def lrn_alpha_divided_by_its_window(b: Any, r: Any) -> None:
    r.LRN_ALPHA = r.LRN_ALPHA / r.LRN_SIZE


@caught_by("forward")
def float32_inside_a_float64_model(b: Any, r: Any) -> None:
    of_kind(r, "dense", lambda original, row, own, x, *rest: original(row, own, x.astype(np.float32), *rest))


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

    of_kind(r, "dense", spoilt)


@caught_by("forward")
def constant_output(b: Any, r: Any) -> None:
    around(b, "forward", lambda original, *a, **k: np.zeros_like(original(*a, **k)))


@caught_by("forward")
def parameter_shared_by_mistake(b: Any, r: Any) -> None:
    def shared(original: Any, row: Any, weights: Any) -> Any:
        one, other = weights.get("fc2.weight"), weights.get("fc3.weight")
        same = row.name == "fc2" and other is not None and one.shape == other.shape
        return {part: weights[f"fc3.{part}"] for part in ("weight", "bias")} if same else original(row, weights)

    around(r, "_own", shared)


@caught_by("forward")
def input_mutated_in_place(b: Any, r: Any) -> None:
    def scaled(original: Any, model: Any, x: Any, **k: Any) -> Any:
        out = original(model, x, **k)
        x *= 0.5
        return out

    around(b, "forward", scaled)


# Backward


@caught_by("backward")
def softmax_twice_in_the_loss(b: Any, r: Any) -> None:
    def twice(original: Any, logits: Any, y: Any) -> Any:
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return original(e / e.sum(axis=1, keepdims=True), y)

    around(r, "cross_entropy", twice)


@caught_by("backward")
def eval_modes_gradients_in_train_mode(b: Any, r: Any) -> None:
    """``loss_and_grads`` alone: trace, forward and the learner do as they are told."""
    around(b, "loss_and_grads", lambda original, *a, train=False: original(*a))


@caught_by("backward")
def sum_instead_of_mean_loss(b: Any, r: Any) -> None:
    def summed(original: Any, model: Any, x: Any, y: Any, **k: Any) -> Any:
        loss, grads = original(model, x, y, **k)
        return loss * len(y), {name: g * len(y) for name, g in grads.items()}

    around(b, "loss_and_grads", summed)


@caught_by("backward")
def gradient_of_one_layer_zero(b: Any, r: Any) -> None:
    of_kind(r, "conv", lambda original, row, *rest: _zeroed(original(row, *rest), row.name), backward=True)


@caught_by("backward")
def labels_off_by_one(b: Any, r: Any) -> None:
    around(r, "cross_entropy", lambda original, logits, y: original(logits, (np.asarray(y) + 1) % logits.shape[1]))


@caught_by("backward")
def relu_lets_every_gradient_through(b: Any, r: Any) -> None:
    of_kind(r, "relu", lambda original, row, own, saved, grad: (grad, {}), backward=True)


def _inside_float32(b: Any, bits: int) -> None:
    """What a matrix unit of that format reads, in float32 models alone."""

    def within(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        params = {name: coarse(array, bits) for name, array in model.params.items()}
        return original(replace(model, params=params) if model.dtype == "float32" else model, *a, **k)

    for name in ("forward", "trace", "loss_and_grads"):
        around(b, name, within)


def _flattened(r: Any, axes: tuple[int, ...]) -> None:
    """Flatten in that order of axes."""

    def turned(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        original(row, own, x, tape, mode)
        return x.transpose(axes).reshape(len(x), -1)

    of_kind(r, "flatten", turned)


def _zeroed(result: Any, name: str) -> Any:
    grad, own = result
    return grad, {part: 0 * g if name == "block2.conv1" else g for part, g in own.items()}
