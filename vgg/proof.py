"""The short proof that ``vgg compare`` shows: structure at the book's input, numbers against the oracle."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .client import Worker
from .compare import compare, forward_limit, gradient_floors, gradient_limit
from .conformance.cases import Arrays, Case
from .layers import expand
from .params import shapes
from .reference import loss_and_grads
from .spec import Spec

BOOK = (224, 224)
ODD = (104, 136)
"""Five pools leave 3x4, AlexNet's three 2x3: a 1x1 or square map would hide the flatten order."""


def prove(worker: Worker, spec: Spec) -> dict[str, Any]:
    """Layers that agree with the layer table at 224x224, parameters, worst float64 errors at 104x136."""
    book = Case(spec.modified(input_shape=(spec.input_shape[0], *BOOK)), batch=1)
    worker.build(book.spec)
    traced, rows = worker.trace(book.images("float32")), expand(book.spec)
    agree = sum(
        name in traced and traced[name].shape == (1, *shape) for name, shape in ((r.name, r.output_shape) for r in rows)
    )
    dumped = worker.dump()
    same = {name: array.shape for name, array in dumped.items()} == shapes(book.spec)
    errors = numbers(worker, Case(spec.modified(input_shape=(spec.input_shape[0], *ODD)), batch=2))
    return {
        "ok": errors.pop("ok") and same and agree == len(rows) == len(traced),
        "layers": len(rows),
        "layers_agreeing": agree,
        "parameters": sum(array.size for name, array in dumped.items() if "running_" not in name),
        **errors,
    }


def numbers(worker: Worker, case: Case) -> dict[str, Any]:
    """Worst relative error of an activation or logits, and of a gradient, in float64 and eval mode."""
    x, y = case.images("float64"), case.labels()
    params, loss, grads, activations = _oracle(case)
    worker.build(case.spec, params, dtype="float64")
    forward = compare(worker.trace(x), activations, limit=forward_limit(case.spec, "float64"), dtype="float64")
    got_loss, got = worker.loss_and_grads(x, y)
    limit = gradient_limit(case.spec, "float64", case.batch)
    found, wanted = {"loss": np.array(got_loss), **got}, {"loss": np.array(loss), **grads}
    backward = compare(found, wanted, limit=limit, dtype="float64", floors=gradient_floors(grads))
    reasons = "; ".join(filter(None, (forward.reason, backward.reason)))
    return {
        "ok": forward.ok and backward.ok,
        "logits_error": _finite(forward.error),
        "gradient_error": _finite(backward.error),
        "reason": reasons,
    }


@lru_cache(maxsize=1)
def _oracle(case: Case) -> tuple[Arrays, float, Arrays, Arrays]:
    """Parameters, loss, gradients and activations: the same for every backend of a comparison."""
    params = case.params("float64")
    loss, grads, tape = loss_and_grads(case.spec, params, case.images("float64"), case.labels())
    return params, loss, grads, tape.activations


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None
