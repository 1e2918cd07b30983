"""Saboteurs that are mutants which no check had killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sabotage import around, caught_by

from vgg.process.wire import Arrays


@caught_by("structure", alone=True)
def a_pooled_heads_width_is_the_maps(b: Any, r: Any) -> None:
    """``load`` puts it right."""
    around(b, "build", lambda original, spec, **k: replace(original(_flattened(spec), **k), spec=spec))


def _flattened(spec: Any) -> Any:
    return replace(spec, head=replace(spec.head, global_pool=False))


@caught_by("backward", alone=True)
def relu_has_a_slope_at_zero(b: Any, r: Any) -> None:
    def kept(row: Any, own: Arrays, x: Any, tape: Any, mode: Any) -> Any:
        tape.saved[row.name] = x >= 0
        return np.maximum(x, 0)

    r._FORWARD["relu"] = kept


@caught_by("backward")
def softmax_starts_from_the_batchs_largest_logit(b: Any, r: Any) -> None:
    def shifted(original: Any, logits: Any, y: Any) -> Any:
        loss, grad = original(logits, y)
        lost = np.exp(logits - logits.max()).sum(axis=1) == 0
        return np.inf if lost.any() else loss, grad

    around(r, "cross_entropy", shifted)


@caught_by("learning")
def a_learner_evaluates_in_float64(b: Any, r: Any) -> None:
    around(b.Learner, "evaluate", lambda original, *a: original(*a).astype(np.float64))


@caught_by("precision")
def a_loss_scale_halves_after_an_overflow(b: Any, r: Any) -> None:
    def scaled(original: Any, learner: Any, grads: Arrays) -> Any:
        rounded = original(learner, grads)
        b.LOSS_SCALE /= 1 if all(np.isfinite(g).all() for g in rounded.values()) else 2
        return rounded

    around(b.Learner, "_gradients", scaled)


@caught_by("learning")
def pixels_are_scaled_in_float32(b: Any, r: Any) -> None:
    def scaled(original: Any, learner: Any, x: Any) -> Any:
        images = original(learner, x)
        return images.astype(np.float32).astype(np.float64) if x.dtype == np.uint8 else images

    around(b.Learner, "_images", scaled)
