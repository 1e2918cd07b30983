"""Faults that only real nets show: many layers, wide ones, large images, large batches, many classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sabotage import around, caught_by, coarse, of_kind, on_own

from vgg.process.wire import Arrays


def _rough(array: Any) -> Any:
    return coarse(np.asarray(array, np.float64), 7)


def _rough_where(r: Any, kind: str, wrong: Callable[..., bool]) -> None:
    """Layers of ``kind`` compute with coarse weights where ``wrong(row, own weights, input)``."""

    def rough(original: Any, row: Any, own: Arrays, x: Any, *rest: Any) -> Any:
        weights = {**own, "weight": _rough(own["weight"])} if wrong(row, own, x) else own
        return original(row, weights, x, *rest)

    of_kind(r, kind, rough)


def _grads(b: Any, change: Callable[[Any, Arrays], Arrays]) -> None:
    """``change(x, gradients)`` where a model is asked for them, and where a learner is."""

    def changed(original: Any, spec: Any, params: Any, x: Any, *rest: Any) -> Any:
        loss, grads, tape = original(spec, params, x, *rest)
        return loss, change(x, grads), tape

    around(b.reference, "loss_and_grads", changed)


def _no_relu(r: Any, number: str) -> None:
    of_kind(
        r, "relu", lambda original, row, own, x, *a: (original(row, own, x, *a), x)[row.name.endswith(f".relu{number}")]
    )


@caught_by("forward")
def no_relu_after_third_convolutions(b: Any, r: Any) -> None:
    _no_relu(r, "3")


@caught_by("forward")
def no_relu_after_fourth_convolutions(b: Any, r: Any) -> None:
    _no_relu(r, "4")


@caught_by("forward")
def no_relu_after_fifth_convolutions(b: Any, r: Any) -> None:
    _no_relu(r, "5")


@caught_by("forward")
def block10_before_block2(b: Any, r: Any) -> None:
    def load(original: Any, model: Any, params: Arrays) -> Any:
        names = [n for n in params if n.endswith("conv1.bias") and params[n].size == 6]
        return original(model, {**params, **{n: params[o] for n, o in zip(names, sorted(names), strict=True)}})

    around(b, "load", load)


@caught_by("forward")
def conv10_before_conv2(b: Any, r: Any) -> None:
    def load(original: Any, model: Any, params: Arrays) -> Any:
        names = [n for n in params if n.startswith("block10.conv") and n.endswith(".weight")]
        return original(model, {**params, **{n: params[o] for n, o in zip(names, sorted(names), strict=True)}})

    around(b, "load", load)


@caught_by("forward")
def fc10_before_fc2(b: Any, r: Any) -> None:
    def load(original: Any, model: Any, params: Arrays) -> Any:
        names = [n for n in params if n.startswith("fc") and n.endswith(".weight") and params[n].shape == (9, 9)]
        return original(model, {**params, **{n: params[o] for n, o in zip(names, sorted(names), strict=True)}})

    around(b, "load", load)


@caught_by("round_trip")
def dumped_in_the_order_of_text(b: Any, r: Any) -> None:
    def dump(original: Any, model: Any) -> Arrays:
        params = original(model)
        names = [n for n in params if n.startswith("block10.conv") and n.endswith(".weight")]
        return {**params, **{n: params[o] for n, o in zip(names, sorted(names), strict=True)}}

    around(b, "dump", dump)


@caught_by("restored", alone=True)
def velocities_restored_in_the_order_of_text(b: Any, r: Any) -> None:
    def restore(original: Any, self: Any, state: Any) -> None:
        original(self, state)
        names = [n for n in self.velocity if n.startswith("block10.") and n.endswith("bias")]
        self.velocity |= {n: self.velocity[o] for n, o in zip(names, sorted(names), strict=True)}

    around(b.Learner, "restore", restore)


@caught_by("learning", alone=True)
def a_learners_masks_in_the_order_of_text(b: Any, r: Any) -> None:
    def step(original: Any, self: Any, x: Any, y: Any, lr: Any, masks: Any = None) -> Any:
        names = list(masks or {})
        fits = len({masks[n].shape for n in names}) == 1
        mixed = {n: masks[o] for n, o in zip(names, sorted(names), strict=True)} if fits else masks
        return original(self, x, y, lr, mixed)

    around(b.Learner, "step", step)


@caught_by("backward")
def last_image_of_a_batch_that_4_divides_has_no_gradient(b: Any, r: Any) -> None:
    def last(original: Any, logits: Any, y: Any) -> Any:
        loss, grad = original(logits, y)
        return loss, np.concatenate([grad[:-1], 0 * grad[-1:]]) if len(grad) % 4 == 0 else grad

    around(r, "cross_entropy", last)


@caught_by("forward")
def wide_dense_layers_in_half_precision(b: Any, r: Any) -> None:
    _rough_where(r, "dense", lambda row, own, x: own["weight"].shape[1] >= 2048)


@caught_by("forward")
def dense_layers_of_4096_units_in_half_precision(b: Any, r: Any) -> None:
    _rough_where(r, "dense", lambda row, own, x: own["weight"].shape[0] >= 4096)


@caught_by("forward")
def convolutions_of_64_channels_in_half_precision(b: Any, r: Any) -> None:
    _rough_where(r, "conv", lambda row, own, x: len(own["weight"]) % 64 == 0)


@caught_by("forward")
def convolutions_of_512_channels_in_half_precision(b: Any, r: Any) -> None:
    _rough_where(r, "conv", lambda row, own, x: len(own["weight"]) >= 512)


@caught_by("switches", alone=True)
def float32_gradients_of_512_by_512_channels_in_half_precision(b: Any, r: Any) -> None:
    _grads(b, lambda x, grads: {n: _rough(g) if g.shape[:2] == (512, 512) else g for n, g in grads.items()})


@caught_by("forward")
def blind_beyond_256_rows(b: Any, r: Any) -> None:
    def blind(original: Any, row: Any, own: Any, x: Any, *rest: Any) -> Any:
        return original(row, own, np.concatenate([x[:, :, :256], 0 * x[:, :, 256:]], axis=2), *rest)

    of_kind(r, "conv", blind)


@caught_by("forward")
def blind_beyond_256_columns(b: Any, r: Any) -> None:
    def blind(original: Any, row: Any, own: Any, x: Any, *rest: Any) -> Any:
        return original(row, own, np.concatenate([x[..., :256], 0 * x[..., 256:]], axis=3), *rest)

    of_kind(r, "conv", blind)


@caught_by("forward")
def dense_sums_cut_at_65536_terms(b: Any, r: Any) -> None:
    of_kind(
        r, "dense", on_own(lambda own: {**own, "weight": own["weight"] * (np.arange(own["weight"].shape[1]) < 65536)})
    )


@caught_by("backward")
def gradients_summed_over_65536_positions_at_most(b: Any, r: Any) -> None:
    def cut(original: Any, row: Any, own: Any, saved: Any, grad: Any) -> Any:
        dx, grads = original(row, own, saved, grad)
        seen = np.swapaxes(grad, 0, 1).reshape(grad.shape[1], -1)[:, :65536]
        return dx, {**grads, "bias": seen.sum(axis=1)}

    of_kind(r, "conv", cut, backward=True)


@caught_by("backward")
def labels_of_eight_bits(b: Any, r: Any) -> None:
    around(r, "cross_entropy", lambda original, logits, y: original(logits, np.asarray(y) % 256))


@caught_by("forward")
def images_beyond_the_32nd_of_a_batch_are_the_first_again(b: Any, r: Any) -> None:
    def first(original: Any, model: Any, x: Any, **k: Any) -> Any:
        return original(model, np.concatenate([x[:32], x[: max(len(x) - 32, 0)]])[: len(x)], **k)

    around(b, "forward", first)


@caught_by("forward")
def relu_leaks_less_than_it_rounds(b: Any, r: Any) -> None:
    """A slope of 1e-18 below zero: no sum shows it, not even in float64."""
    of_kind(r, "relu", lambda original, row, own, x, *rest: original(row, own, x, *rest) + 1e-18 * np.minimum(x, 0))
