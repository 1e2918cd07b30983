"""The short proof that ``vgg compare`` shows: that each backend trains the same network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from ..core.architectures import arch, arch_names
from ..core.comparator import compare, forward_limit, gradient_floors, gradient_limit
from ..core.errors import VGGError
from ..core.layers import expand, totals
from ..core.oracle import Mode, loss_and_grads
from ..core.params import shapes
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Arrays, Case
from .checks import AMISS, eval_mode

BOOK = (224, 224)
BOOK_PARAMETERS = 150_000_000
"""The most parameters that an additional model at 224 px may have, in float32: VGG-19 has 144 million."""
ODD = (104, 136)
"""Sides of an odd input. Five pools leave 3x4, AlexNet's three 2x3; a 1x1 or square map hides the flatten order."""
ODD_PARAMETERS, ODD_MACS = 100_000_000, 20_000_000_000
"""The most parameters of a model of odd sides, in float64, and the most multiply-adds per image."""
UNPROVEN = dict.fromkeys(("layers", "layers_agreeing", "parameters", "logits_error", "gradient_error"))


def prove(worker: Jobs, spec: Spec) -> dict[str, Any]:
    """Prove that the backend's network is ``spec``; return the result as a dict.

    It has the worst float64 errors at the input that is trained on, and at one that leaves a map that is not square. It
    has the layers and parameters, at 224 px if ``spec`` is a named architecture. If the proof cannot be carried out,
    ``ok`` is false and ``reason`` says why.
    """
    try:
        return _prove(worker, spec)
    except (*AMISS, MemoryError) as error:
        reason = str(error) if isinstance(error, VGGError) else f"{type(error).__name__}: {error}"
        return {"ok": False, **UNPROVEN, "reason": f"not proven: {reason}"}


def _prove(worker: Jobs, spec: Spec) -> dict[str, Any]:
    cases = [Case(one, batch=2) for one in (spec, odd(spec)) if one]
    first, *others = [numbers(worker, case) for case in cases]
    structure = structured(worker, book(spec) or spec)
    reasons = [part.pop("reason") for part in (first, *others, structure)]
    worst_errors = {name: _worst([part[name] for part in (first, *others)]) for name in first}
    inputs = {"proven_at": [list(case.spec.input_shape) for case in cases]}
    return {"ok": not any(reasons), **structure, **worst_errors, **inputs, "reason": "; ".join(filter(None, reasons))}


def structured(worker: Jobs, spec: Spec) -> dict[str, Any]:
    """Return how many layers there are, how many agree with the layer table, and the number of parameters."""
    worker.build(spec)
    traced, rows = worker.trace(Case(spec, batch=1).images("float32")), expand(spec)
    agree = sum(row.name in traced and traced[row.name].shape == (1, *row.output_shape) for row in rows)
    dumped = worker.dump()
    same = {name: array.shape for name, array in dumped.items()} == shapes(spec)
    agreed = same and agree == len(rows) == len(traced)
    return {
        "layers": len(rows),
        "layers_agreeing": agree,
        "parameters": sum(array.size for name, array in dumped.items() if "running_" not in name),
        "structure_at": list(spec.input_shape),
        "reason": "" if agreed else f"structure: {agree} of {len(rows)} layers, parameters as wanted: {same}",
    }


def numbers(worker: Jobs, case: Case) -> dict[str, Any]:
    """Return the worst relative errors of activations and logits, and of gradients, in float64 and eval mode."""
    x, y = case.images("float64"), case.labels()
    params, loss, grads, activations = _oracle(case, eval_mode(worker))
    worker.build(case.spec, params, dtype="float64")
    last = next(reversed(activations))
    traced = {**worker.trace(x), "logits of forward()": worker.forward(x)}
    wanted = {**activations, "logits of forward()": activations[last]}
    forward = compare(traced, wanted, limit=forward_limit(case.spec, "float64"), dtype="float64")
    got_loss, got_grads = worker.loss_and_grads(x, y)
    limit = gradient_limit(case.spec, "float64", case.batch)
    differentiated, wanted = {"loss": np.array(got_loss), **got_grads}, {"loss": np.array(loss), **grads}
    backward = compare(differentiated, wanted, limit=limit, dtype="float64", floors=gradient_floors(grads))
    return {
        "logits_error": forward.error,
        "gradient_error": backward.error,
        "reason": "; ".join(filter(None, (forward.reason, backward.reason))),
    }


def book(spec: Spec) -> Spec | None:
    """Return ``spec`` at 224 px if it is a named architecture whose head is affordable there, else None."""
    if spec.name not in arch_names() or _outline(spec) != _outline(arch(spec.name)):
        return None
    shown = spec.modified(input_shape=(spec.input_shape[0], *BOOK))
    return shown if totals(expand(shown)).params <= BOOK_PARAMETERS else None


def odd(spec: Spec) -> Spec | None:
    """Return ``spec`` at sides that leave a map neither square nor one pixel high or wide.

    Return None if its own input already does, or if no such model is affordable.
    """
    if _telling(spec):
        return None
    return next((one for one in _grown(spec) if _telling(one) and _affordable(one)), None)


def _outline(spec: Spec) -> list[Any]:
    return [(len(block.convs), block.pool) for block in spec.blocks]


def _telling(spec: Spec) -> bool:
    _, height, width = spec.feature_shape
    return height != width and min(height, width) > 1


def _affordable(spec: Spec) -> bool:
    counts = totals(expand(spec))
    return counts.params <= ODD_PARAMETERS and counts.macs <= ODD_MACS


def _grown(spec: Spec) -> Iterator[Spec]:
    """Yield ``spec`` at other sides that its pools allow: those of ``ODD`` first, then from small to large."""
    channels, height, width = spec.input_shape
    ups, acrosses = ((0, 1, 2, 3, side // 2, side, 2 * side, 3 * side) for side in (height, width))
    grown = {(height + up, width + across) for up, across in product(ups, acrosses)}
    for sides in (ODD, *sorted(grown, key=lambda sides: (math.prod(sides), sides))):
        try:
            yield spec.modified(input_shape=(channels, *sides))
        except VGGError:
            continue


@lru_cache(maxsize=2)
def _oracle(case: Case, mode: Mode) -> tuple[Arrays, float, Arrays, Arrays]:
    """Return parameters, loss, gradients and activations, which are the same for every backend of a comparison."""
    params = case.params("float64")
    loss, grads, tape = loss_and_grads(case.spec, params, case.images("float64"), case.labels(), mode)
    return params, loss, grads, tape.activations


def _worst(errors: list[float]) -> float | None:
    """Return the largest error if JSON can hold it, else None."""
    return max(errors) if math.isfinite(max(errors)) else None
