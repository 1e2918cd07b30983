"""Whether what was timed computes what it should: the configuration itself, against the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from ..client import Worker
from ..compare import CONFIDENCE, Limit, Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..masks import masks
from ..recipe import Recipe
from .contender import GRADIENT, Arrays, prepared
from .workloads import Workload


@dataclass(frozen=True)
class Truth:
    """The oracle's answers for the first batch: logits in eval mode, gradients with neutral masks, and both limits."""

    logits: Arrays
    gradients: Arrays
    limits: tuple[Limit, Limit]


def truth(workload: Workload, params: Arrays, plan: Recipe) -> Truth:
    """One forward pass and two of gradients: the second, on images that are off by what rounding does to a layer's
    output, shows how far gradients move when ReLUs and max-pools switch.
    """
    spec, batch = workload.spec, plan.batch_size
    x, labels = prepared(spec, plan, workload.images(batch)[:batch]), workload.labels(batch)[:batch]
    mode = reference.Mode(train=True, masks=masks(spec, batch, plan.seed, 0))
    logits: Arrays = {"logits": reference.forward(spec, params, x).logits}
    forward = forward_limit(spec, plan.precision)
    noise = forward / CONFIDENCE
    _, grads, _ = reference.loss_and_grads(spec, params, x, labels, mode)
    off = x * (1 + noise * np.random.RandomState(2).standard_normal(x.shape))
    _, strayed, _ = reference.loss_and_grads(spec, params, off, labels, mode)
    band = CONFIDENCE * compare(strayed, grads, limit=Limit(np.inf, ""), floors=gradient_floors(grads)).error
    basis = f"{CONFIDENCE:g} times what images off by {noise:.0e} do to the oracle's"
    backward = max(gradient_limit(spec, plan.precision, batch), Limit(band, basis))
    return Truth(logits, grads, (forward, backward))


def judged(worker: Worker, known: Truth) -> dict[str, Any]:
    """Verdicts on the contender in ``worker``: on its logits and, where it can be told its masks, on its gradients."""
    _, found = worker.call("answers")
    grads = {n.removeprefix(GRADIENT): a for n, a in found.items() if n.startswith(GRADIENT)}
    forward, backward = known.limits
    verdicts = {"logits": compare({"logits": found["logits"]}, known.logits, limit=forward)}
    if grads:
        verdicts["gradients"] = compare(grads, known.gradients, limit=backward, floors=gradient_floors(known.gradients))
    return {"ok": all(v.ok for v in verdicts.values()), **{what: _told(v) for what, v in verdicts.items()}}


def _told(verdict: Verdict) -> dict[str, Any]:
    error = verdict.error if np.isfinite(verdict.error) else None
    return {"error": error, "limit": float(verdict.limit), "basis": verdict.basis, "reason": verdict.reason}
