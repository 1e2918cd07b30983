"""Checks of dropout: where it is alive, at which rate, how rescaled, and that masks do not depend on each other."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from .. import reference
from ..backends import VELOCITY
from ..client import Jobs
from ..compare import Limit, Verdict
from ..recipe import Recipe
from .cases import Array, Case
from .checks import built, declared_mode, dropouts, refused, seen_mask

SIGMAS = Limit(5, "standard errors: a false alarm in 1.7e6 tests")


def modes(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Eval mode has no dropout and train mode has: inverted, at its rate, each unit, image and layer for itself.

    Rate and correlations stay within ``SIGMAS`` standard errors; the generator is seeded, so a backend that passes once
    passes always.
    """
    x = built(worker, case, dtype)
    evaluated, trained = worker.trace(x), worker.trace(x, train=True)
    masks_seen, worst = [], Verdict(0.0, SIGMAS)
    for before, row in dropouts(case):
        if not np.array_equal(evaluated[row], evaluated[before]):
            return refused(row, "dropout is alive in eval mode")
        masks_seen.append(seen_mask(trained, before, row, unseen=np.nan))
        worst = _worse(worst, dropped(row, masks_seen[-1], case.spec.head.dropout))
    for one, other in pairwise(mask for mask in masks_seen if mask.shape == masks_seen[0].shape):
        worst = _worse(worst, independent("masks of neighbouring layers", one, other))
    return worst


def masking(worker: Jobs, case: Case) -> Verdict:
    """The masks that a learner draws, read off its velocity.

    It holds gradients, and that of the last weight, for one image, is the gradient of the logits times the hidden units
    times their mask. Of two copies of the image, so is the sum, unless their masks differ.
    """
    one = replace(case, batch=1)
    x, y = built(worker, one, "float64"), one.labels()
    worker.learner(Recipe(momentum=0.5))
    whole = one.spec.modified(dropout=0)
    hidden = reference.forward(whole, one.params("float64"), x, declared_mode(worker)).activations["fc1.relu"][0]
    before: dict[str, Any] = {"weight": 0.0, "bias": 0.0}
    seen, worst = [], Verdict(0.0, SIGMAS)
    for copies in (1, 1, 2):
        worker.step(np.repeat(x, copies, axis=0), np.repeat(y, copies), 0.0)
        state = worker.state()
        velocity = {part: state[f"{VELOCITY}fc2.{part}"] for part in before}
        grads = {part: v - 0.5 * before[part] for part, v in velocity.items()}
        before, logit = velocity, np.abs(grads["bias"]).argmax()
        mask = np.full((1, hidden.size), np.nan)
        np.divide(grads["weight"][logit] / grads["bias"][logit], hidden, out=mask[0], where=hidden > 0)
        seen.append(mask)
    rate = case.spec.head.dropout
    for mask in seen[:2]:
        worst = _worse(worst, dropped("a step's fc1.dropout", mask, rate))
    worst = _worse(worst, independent("masks of neighbouring steps", *seen[:2]))
    alike = np.isnan(seen[2]) | np.isclose(seen[2], 0) | np.isclose(seen[2], 1 / (1 - rate))
    return refused("a step's fc1.dropout", "one mask for all images") if worst.ok and alike.all() else worst


def dropped(row: str, mask: Array, rate: float) -> Verdict:
    """A mask (N, units), NaN where nothing can be seen: its rate, its scale, its neighbours."""
    seen = ~np.isnan(mask)
    kept = mask[seen] > 0
    if not kept.any():
        return refused(row, "train mode keeps nothing")
    scale = mask[seen][kept]
    if not np.allclose(scale, 1 / (1 - rate), rtol=1e-5):
        return refused(row, f"train mode scales by {np.median(scale):.6f}, wanted {1 / (1 - rate):.6f}")
    off = abs(kept.mean() - (1 - rate)) / math.sqrt(rate * (1 - rate) / kept.size)
    reason = f"{row}: keeps {kept.mean():.3f} of its units, wanted {1 - rate:.3f}: {off:.0f} standard errors"
    worst = Verdict(off, SIGMAS, row, "" if off <= SIGMAS else reason)
    for axis, what in enumerate(("images", "units")):
        if mask.shape[axis] > 1:
            worst = _worse(worst, independent(f"{row}: neighbouring {what}", mask, np.roll(mask, 1, axis=axis)))
    return worst


def independent(what: str, one: Array, other: Array) -> Verdict:
    """Two masks of one shape: their correlation, in standard errors."""
    both = ~np.isnan(one) & ~np.isnan(other)
    pairs = [(mask[both] > 0) - np.mean(mask[both] > 0) for mask in (one, other)]
    spread = math.sqrt(np.square(pairs[0]).mean() * np.square(pairs[1]).mean())
    correlation = float((pairs[0] * pairs[1]).mean() / spread)
    off = abs(correlation) * math.sqrt(np.count_nonzero(both))
    reason = f"{what} correlate by {correlation:.2f}, wanted 0: {off:.0f} standard errors"
    return Verdict(off, SIGMAS, what, "" if off <= SIGMAS else reason)


def _worse(one: Verdict, other: Verdict) -> Verdict:
    """The first to fail, else the one nearer to its limit."""
    return one if not one.ok else other if not other.ok else max(one, other, key=lambda verdict: verdict.error)
