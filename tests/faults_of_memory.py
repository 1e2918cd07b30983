"""Saboteurs that remember what they should compute again, as caches with too small a key do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from faults_of_lives import in_step
from sabotage import around, caught_by

from vgg.core.resize import resize_matrix
from vgg.process.client import Array


def remembering(b: Any, job: str) -> None:
    """Let a function of a model answer as before where its arguments are those of the call before."""

    def asked(original: Any, model: Any, *arrays: Array, train: bool = False) -> Any:
        last = model.__dict__.get(job)
        if last and not train and all(map(np.array_equal, last[0], arrays)):
            return last[1]
        answer = original(model, *arrays, train=train)
        if not train:
            model.__dict__[job] = [array.copy() for array in arrays], answer
        return answer

    around(b, job, asked)
    around(b, job, lambda original, *a, **k: _copied(original(*a, **k)))


def _copied(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return answer[0], _copied(answer[1])
    return {name: array.copy() for name, array in answer.items()} if isinstance(answer, dict) else answer.copy()


@caught_by("promises", alone=True)
def a_trace_of_the_same_images_is_that_of_the_old_parameters(b: Any, r: Any) -> None:
    remembering(b, "trace")


@caught_by("promises", alone=True)
def gradients_of_the_same_batch_are_those_of_the_old_parameters(b: Any, r: Any) -> None:
    remembering(b, "loss_and_grads")


def sticking(b: Any, share: float) -> None:
    """Let a learner keep its learning rate until the next is farther off than ``share`` of it."""

    def step(original: Any, self: Any, x: Any, y: Any, lr: Any, masks: Any) -> Any:
        last = getattr(self, "rate", -1.0)
        if abs(lr - last) > share * last:
            self.rate = lr
        return original(self, x, y, self.rate, masks)

    in_step(b, step)


@caught_by("life", alone=True)
def a_learning_rate_a_tenth_from_the_last_is_taken_for_it(b: Any, r: Any) -> None:
    sticking(b, 0.1)


@caught_by("life", alone=True)
def a_learning_rate_a_millionth_from_the_last_is_taken_for_it(b: Any, r: Any) -> None:
    sticking(b, 1.5e-6)


@caught_by("life", alone=True)
def the_scale_of_pixels_is_that_of_the_first_learner_with_that_optimizer(b: Any, r: Any) -> None:
    first: dict[Any, tuple[float, float]] = {}

    def images(original: Callable[[Any], Array], x: Array, self: Any) -> Array:
        recipe = self.recipe
        key = self.model.spec, recipe.precision, recipe.momentum, recipe.weight_decay
        mean, std = first.setdefault(key, (recipe.mean, recipe.std))
        images = original(x)
        if x.dtype != np.uint8:
            return images
        shifted: Array = (images * recipe.std + recipe.mean - mean) / std
        return shifted

    _with_learner(b, images)


def _with_learner(b: Any, changed: Callable[..., Array]) -> None:
    healthy = b.Learner._images
    b.Learner._images = lambda self, x: changed(lambda x: healthy(self, x), x, self)


@caught_by("life", alone=True)
def resizing_uses_the_width_of_the_first_images_of_that_height(b: Any, r: Any) -> None:
    kept: dict[tuple[int, int], int] = {}

    def images(original: Callable[[Any], Array], x: Array, self: Any) -> Array:
        width = kept.setdefault((id(self), x.shape[2]), x.shape[3])
        if x.dtype != np.uint8 or width == x.shape[3]:
            return original(x)
        matrix = resize_matrix(x.shape[3], width)
        return original(np.rint(np.clip(x @ matrix.T, 0, 255)).astype(np.uint8))

    _with_learner(b, images)


@caught_by("pixels")
def without_a_mean_pixels_are_not_divided_by_the_deviation(b: Any, r: Any) -> None:
    def images(original: Callable[[Any], Array], x: Array, self: Any) -> Array:
        images = original(x)
        return images if self.recipe.mean or x.dtype != np.uint8 else images * self.recipe.std

    _with_learner(b, images)


@caught_by("promises", alone=True)
def float32_images_make_a_float64_model_compute_in_float32(b: Any, r: Any) -> None:
    def asked(original: Any, model: Any, x: Array, *rest: Any, **train: Any) -> Any:
        answer = original(model, x, *rest, **train)
        return answer if x.dtype == model.dtype else _rounded(answer)

    for job in ("forward", "trace", "loss_and_grads"):
        around(b, job, asked)


def _rounded(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return answer[0], _rounded(answer[1])
    if isinstance(answer, dict):
        return {name: _rounded(array) for name, array in answer.items()}
    return answer.astype(np.float32).astype(answer.dtype)


@caught_by("promises", alone=True)
def trace_takes_pixels_as_numbers(b: Any, r: Any) -> None:
    around(b, "trace", lambda original, model, x, **k: original(model, x.astype(np.float64), **k))


@caught_by("learning")
def wide_kernels_are_not_decayed(b: Any, r: Any) -> None:
    def changed(original: Any, params: Any, grads: Any, velocity: Any, *, weight_decay: float = 0.0, **k: Any) -> Any:
        wide = {n for n in grads if params[n].ndim == 4 and params[n].shape[0] >= 64}
        grads = {n: g - weight_decay * params[n] * (n in wide) for n, g in grads.items()}
        return original(params, grads, velocity, weight_decay=weight_decay, **k)

    around(r, "sgd", changed)
