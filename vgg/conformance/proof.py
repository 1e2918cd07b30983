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
BATCH = 2
"""The number of images that the float64 errors are of."""
UNPROVEN = dict.fromkeys(("layers", "layers_agreeing", "parameters", "logits_error", "gradient_error"))
DETAILS = ("layer_errors", "parameter_errors")
Errors = dict[str, float | None]
"""Error by the name of a layer or of a parameter; None stands for an error that is not a finite number."""


def prove(worker: Jobs, spec: Spec) -> dict[str, Any]:
    """Prove that the backend's network is ``spec``; return the result as a dict.

    It has the worst float64 errors at the input that is trained on, and at one that leaves a map that is not square:
    in all, by layer (``layer_errors``) and by parameter (``parameter_errors``), with the limits of both. It has the
    layers, their shapes and the parameters, at 224 px if ``spec`` is a named architecture. If the proof cannot be
    carried out, ``ok`` is false and ``reason`` says why.
    """
    try:
        return _prove(worker, spec)
    except (*AMISS, MemoryError) as error:
        reason = str(error) if isinstance(error, VGGError) else f"{type(error).__name__}: {error}"
        return {"ok": False, **UNPROVEN, "reason": f"not proven: {reason}"}


def _prove(worker: Jobs, spec: Spec) -> dict[str, Any]:
    cases = [Case(one, batch=BATCH) for one in (spec, odd(spec)) if one]
    first, *others = [numbers(worker, case) for case in cases]
    structure = structured(worker, book(spec) or spec)
    reasons = [part.pop("reason") for part in (first, *others, structure)]
    each = {name: _worst_of_each([part.pop(name) for part in (first, *others)]) for name in DETAILS}
    worst_errors = {name: _worst([part[name] for part in (first, *others)]) for name in first}
    inputs = {"proven_at": [list(case.spec.input_shape) for case in cases]}
    reason = "; ".join(filter(None, reasons))
    return {"ok": not any(reasons), **structure, **worst_errors, **inputs, **each, "reason": reason}


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
        "shapes": {row.name: list(traced[row.name].shape[1:]) for row in rows if row.name in traced},
        "reason": "" if agreed else f"structure: {agree} of {len(rows)} layers, parameters as wanted: {same}",
    }


def numbers(worker: Jobs, case: Case) -> dict[str, Any]:
    """Return the relative errors of activations and logits, and of gradients, in float64 and eval mode.

    They are the worst of all, and those of each layer and of each parameter.
    """
    x, y = case.images("float64"), case.labels()
    params, loss, grads, activations = _oracle(case, eval_mode(worker))
    worker.build(case.spec, params, dtype="float64")
    last = next(reversed(activations))
    traced = {**worker.trace(x), "logits of forward()": worker.forward(x)}
    wanted = {**activations, "logits of forward()": activations[last]}
    forward = compare(traced, wanted, limit=forward_limit(case.spec, "float64"), dtype="float64")
    got_loss, got_grads = worker.loss_and_grads(x, y)
    limit, floors = gradient_limit(case.spec, "float64", case.batch), gradient_floors(grads)
    differentiated, wanted_grads = {"loss": np.array(got_loss), **got_grads}, {"loss": np.array(loss), **grads}
    backward = compare(differentiated, wanted_grads, limit=limit, dtype="float64", floors=floors)
    return {
        "logits_error": forward.error,
        "gradient_error": backward.error,
        "layer_limit": float(forward.limit),
        "parameter_limit": float(limit),
        "layer_errors": _each(traced, wanted, {}),
        "parameter_errors": _each(got_grads, grads, floors),
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


def _each(got: Arrays, wanted: Arrays, floors: dict[str, float]) -> Errors:
    """Return the error of each array in ``wanted``, rounded to three digits."""
    errors = {}
    for name, array in wanted.items():
        one = {name: got[name]} if name in got else {}
        error = compare(one, {name: array}, limit=math.inf, floors=floors).error
        errors[name] = float(f"{error:.2e}") if math.isfinite(error) else None
    return errors


def _worst_of_each(parts: list[Errors]) -> Errors:
    """Return the largest error of each name over several inputs; None is larger than every number."""
    return {name: _worst([math.inf if (e := part[name]) is None else e for part in parts]) for name in parts[0]}


def _worst(errors: list[float]) -> float | None:
    """Return the largest error if JSON can hold it, else None."""
    return max(errors) if math.isfinite(max(errors)) else None
