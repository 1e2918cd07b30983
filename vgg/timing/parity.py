"""Judge whether the configuration that is timed computes what it should, against the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import oracle
from ..core.comparator import (
    CONFIDENCE,
    ROUNDOFF,
    Limit,
    Verdict,
    compare,
    forward_limit,
    gradient_floors,
    gradient_limit,
)
from ..core.masks import masks
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Worker
from .contender import GRADIENT, Array, Arrays, prepared
from .workloads import Workload, times

TOGETHER = 8
"""The number of images that the oracle takes at a time."""


@dataclass(frozen=True)
class Truth:
    """The oracle's answers for the first batch: logits in eval mode, gradients with neutral masks, and both limits."""

    logits: Arrays
    gradients: Arrays
    limits: tuple[Limit, Limit]


def truth(workload: Workload, params: Arrays, plan: Recipe) -> Truth:
    """Return the oracle's answers for the first batch of a workload.

    The gradients' limit comes from a second run, on images that are off by what rounding does to a layer's output: it
    shows how far gradients move when ReLUs and max-pools switch. Equal images of a batch are computed once.
    """
    spec, batch, once = workload.spec, plan.batch_size, slice(0, plan.batch_size, times(plan.batch_size))
    x, labels = prepared(spec, plan, workload.images(batch)[once]), workload.labels(batch)[once]
    answers = np.concatenate([oracle.forward(spec, params, x[s]).logits for s in _slices(len(x))])
    logits: Arrays = {"logits": np.repeat(answers, times(batch), axis=0)}
    backward = gradient_limit(spec, plan.precision, batch)
    narrow = ROUNDOFF[plan.precision] > ROUNDOFF["float32"]
    forward = backward if narrow else forward_limit(spec, plan.precision)
    noise = forward / CONFIDENCE
    grads = _gradients(spec, params, x, labels, plan)
    off = x * (1 + noise * np.random.RandomState(2).standard_normal(x.shape))
    strayed = _gradients(spec, params, off, labels, plan)
    band = CONFIDENCE * compare(strayed, grads, limit=Limit(np.inf, ""), floors=gradient_floors(grads)).error
    basis = f"{CONFIDENCE:g} times what images off by {noise:.0e} do to the oracle's"
    return Truth(logits, grads, (forward, max(backward, Limit(band, basis))))


def _slices(batch: int) -> list[slice]:
    """Return slices of a few images each, because the oracle keeps every activation in float64."""
    return [slice(start, start + TOGETHER) for start in range(0, batch, TOGETHER)]


def _gradients(spec: Spec, params: Arrays, x: Array, labels: Array, plan: Recipe) -> Arrays:
    """Return gradients of the batch's mean loss, with neutral masks; without batch norm, as the mean over slices."""
    neutral = masks(spec, len(x), plan.seed, 0)
    total: Arrays = {}
    for s in _slices(len(x)):
        mode = oracle.Mode(train=True, masks={name: mask[s] for name, mask in neutral.items()})
        grads = oracle.loss_and_grads(spec, params, x[s], labels[s], mode)[1]
        total = {name: total.get(name, 0) + g * (len(labels[s]) / len(x)) for name, g in grads.items()}
    return total


def judged(worker: Worker, known: Truth) -> dict[str, Any]:
    """Return verdicts on the contender in ``worker``: on its logits and, if it can use given masks, its gradients."""
    _, answers = worker.call("answers")
    grads = {n.removeprefix(GRADIENT): a for n, a in answers.items() if n.startswith(GRADIENT)}
    forward, backward = known.limits
    verdicts = {"logits": compare({"logits": answers["logits"]}, known.logits, limit=forward)}
    if grads:
        verdicts["gradients"] = compare(grads, known.gradients, limit=backward, floors=gradient_floors(known.gradients))
    return {"ok": all(v.ok for v in verdicts.values()), **{what: _as_dict(v) for what, v in verdicts.items()}}


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    error = verdict.error if np.isfinite(verdict.error) else None
    return {"error": error, "limit": float(verdict.limit), "basis": verdict.basis, "reason": verdict.reason}
