"""Saboteurs that claim what is not so."""

from __future__ import annotations

from typing import Any

import numpy as np
from sabotage import around, caught_by, of_kind


@caught_by("claims", alone=True)
def a_precision_that_is_none(b: Any, r: Any) -> None:
    """By torch's name for it: every recipe that says bf16 is refused."""
    b.PRECISIONS = {"cpu": (*b.PRECISIONS["cpu"], "bfloat16")}


@caught_by("claims", alone=True)
def precisions_of_an_unknown_device(b: Any, r: Any) -> None:
    b.PRECISIONS = {**b.PRECISIONS, "cuda": ("float32", "bf16")}


@caught_by("claims", alone=True)
def a_number_of_gpus_that_is_a_text(b: Any, r: Any) -> None:
    """``--device auto`` takes it for a GPU."""
    around(b, "facts", lambda original: {**original(), "gpus": "0"})


@caught_by("claims", alone=True)
def a_framework_without_a_name(b: Any, r: Any) -> None:
    around(b, "facts", lambda original: {**original(), "framework": None})


@caught_by("declared")
def epsilon_declared_in_float32(b: Any, r: Any) -> None:
    b.DECLARED = {**b.DECLARED, "epsilon": "float32"}


@caught_by("declared")
def epsilon_rounded_to_float32(b: Any, r: Any) -> None:
    _epsilon(r, lambda train: True, float(np.float32(1e-5)))


@caught_by("declared")
def epsilon_rounded_in_eval_mode(b: Any, r: Any) -> None:
    """Beside running variances near 1 that goes unseen."""
    _epsilon(r, lambda train: not train, float(np.float32(1e-5)))


@caught_by("declared")
def epsilon_rounded_in_train_mode(b: Any, r: Any) -> None:
    _epsilon(r, lambda train: train, float(np.float32(1e-5)))


@caught_by("properties", alone=True)
def a_kernel_of_two_padded_wrongly_in_float32(b: Any, r: Any) -> None:
    """In the dtype that most people use. Scripts without LRN are judged in float64."""

    def traced(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        convs = [conv for block in model.spec.blocks for conv in block.convs]
        even = [conv for conv in convs if conv.kernel == 2] if not any(conv.lrn for conv in convs) else []
        rows = original(model, *a, **k)
        return {n: x * np.float32(1.01) for n, x in rows.items()} if even and model.dtype == "float32" else rows

    around(b, "trace", traced)


@caught_by("exchange")
def load_works_once_in_float32(b: Any, r: Any) -> None:
    """And in float64 as it should."""

    def once(original: Any, model: Any, params: Any) -> Any:
        if model.dtype == "float32" and getattr(model, "filled", False):
            return model
        model = original(model, params)
        model.filled = True
        return model

    around(b, "load", once)


@caught_by("properties")
def wide_strides_in_float32_alone(b: Any, r: Any) -> None:
    """The gradient of a convolution that leaves pixels out is a little off, in the dtype that most people use."""

    def differentiated(original: Any, model: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(model, *a, **k)
        wide = [conv for block in model.spec.blocks for conv in block.convs if conv.stride > conv.kernel]
        off = np.float32(1.001 if wide and model.dtype == "float32" else 1)
        return loss, {name: (g * off).astype(g.dtype) for name, g in grads.items()}

    around(b, "loss_and_grads", differentiated)


def _epsilon(r: Any, when: Any, epsilon: float) -> None:
    def normal(original: Any, row: Any, own: Any, x: Any, tape: Any, mode: Any) -> Any:
        return original(row, own, x, tape, mode._replace(epsilon=epsilon) if when(mode.train) else mode)

    of_kind(r, "batch_norm", normal)
