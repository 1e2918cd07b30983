"""Checks of dropout: where it is alive, at which rate, how rescaled, and that masks do not depend on each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..backends import VELOCITY
from ..client import Jobs
from ..compare import ROUNDOFF, Limit, Verdict, compare, gradient_floors, gradient_limit
from ..recipe import Recipe
from .cases import Array, Arrays, Case
from .checks import built, declared, declared_mode, dropout_scale, dropouts, refused, seen_mask

SIGMAS = Limit(5, "standard errors: one in 1.7e6 such numbers is a false alarm")


def modes(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Eval mode has no dropout and train mode has: inverted, at its rate, each unit, image and layer for itself.

    Rate and correlations stay within ``SIGMAS`` standard errors; the generator is seeded, so a backend that passes once
    passes always.
    """
    x, rate = built(worker, case, dtype), case.spec.head.dropout
    scale = dropout_scale(declared(worker)["dropout"], rate)
    evaluated, trained = worker.trace(x), worker.trace(x, train=True)
    masks_seen, worst = [], Verdict(0.0, SIGMAS)
    for before, row in dropouts(case):
        if not np.array_equal(evaluated[row], evaluated[before]):
            return refused(row, "dropout is alive in eval mode")
        masks_seen.append(seen_mask(trained, before, row, unseen=np.nan))
        worst = _worse(worst, dropped(row, masks_seen[-1], rate, scale, 8 * ROUNDOFF[dtype]))
    for one, other in pairwise(mask for mask in masks_seen if mask.shape == masks_seen[0].shape):
        worst = _worse(worst, independent("masks of neighbouring layers", one, other))
    return worst


def masking(worker: Jobs, case: Case) -> Verdict:
    """The masks that a learner draws, read off its gradients; and with them loss and gradients as the oracle has them.

    The gradient of the last weight, for one image, is that of the logits times the hidden units times their mask. Of
    two copies of the image, so is the sum, unless their masks differ.
    """
    one, row = replace(case, batch=1), "a step's fc1.dropout"
    rate, mode = one.spec.head.dropout, declared_mode(worker)
    scale = dropout_scale(declared(worker)["dropout"], rate)
    x, params = one.images("float64"), one.params("float64")
    hidden = reference.forward(one.spec.modified(dropout=0), params, x, mode).activations["fc1.relu"]
    steps = list(_steps(worker, one, copies=(1, 1, 2)))
    first, second, both = masks = [_mask_behind(grads, hidden) for _, grads in steps]
    worst = Verdict(0.0, SIGMAS)
    for mask, found in zip(masks[:2], steps, strict=False):
        worst = _worse(worst, dropped(row, mask, rate, scale, tolerance=1e-9))
        worst = _worse(worst, _stepped(one, mode, np.where(np.isnan(mask), 1, scale * (mask > scale / 2)), *found))
    worst = _worse(worst, independent("masks of neighbouring steps", first, second))
    alike = _either(both[~np.isnan(both)], scale, tolerance=1e-9).all()
    return refused(row, "one mask for all images") if worst.ok and alike else worst


def _steps(worker: Jobs, one: Case, copies: tuple[int, ...]) -> Iterator[tuple[float, Arrays]]:
    """Loss and gradients, which a velocity holds, of a step on so many copies of one image; the weights stay."""
    x, y = built(worker, one, "float64"), one.labels()
    before: Arrays = {}
    worker.learner(Recipe(momentum=0.5))
    for count in copies:
        loss = worker.step(np.repeat(x, count, axis=0), np.repeat(y, count), 0.0)
        after = {n.removeprefix(VELOCITY): v for n, v in worker.state().items() if n.startswith(VELOCITY)}
        yield loss, {name: v - 0.5 * before.get(name, 0.0) for name, v in after.items()}
        before = after


def _mask_behind(grads: Arrays, hidden: Array) -> Array:
    """What ``hidden`` (1, units) was multiplied by; NaN where it was zero."""
    logit = np.abs(grads["fc2.bias"]).argmax()
    masked = grads["fc2.weight"][logit] / grads["fc2.bias"][logit]
    mask = np.full_like(hidden, np.nan)
    np.divide(masked, hidden, out=mask, where=hidden > 0)
    return mask


def _stepped(one: Case, mode: reference.Mode, mask: Array, loss: float, grads: Arrays) -> Verdict:
    """A step with its own mask against the oracle's."""
    drawn = mode._replace(masks={"fc1.dropout": mask})
    x, y, params = one.images("float64"), one.labels(), one.params("float64")
    exact, wanted, _ = reference.loss_and_grads(one.spec, params, x, y, drawn)
    found = {"loss": np.array(loss), **grads}
    limit = gradient_limit(one.spec, "float64", 1)
    return compare(found, {"loss": np.array(exact), **wanted}, limit=limit, floors=gradient_floors(wanted))


def dropped(row: str, mask: Array, rate: float, scale: float, tolerance: float) -> Verdict:
    """A mask (N, units), NaN where nothing can be seen: its values, its rate, its neighbours."""
    seen = mask[~np.isnan(mask)]
    odd = seen[~_either(seen, scale, tolerance)]
    if odd.size:
        return refused(row, f"train mode multiplies by {odd[0]:.9g}, wanted 0 or {scale:.9g}")
    kept = seen > 0.5 * scale
    if not kept.any():
        return refused(row, "train mode keeps nothing")
    off = abs(kept.mean() - (1 - rate)) / math.sqrt(rate * (1 - rate) / kept.size)
    reason = f"{row}: keeps {kept.mean():.3f} of its units, wanted {1 - rate:.3f}: {off:.0f} standard errors"
    worst = Verdict(off, SIGMAS, row, "" if off <= SIGMAS else reason)
    for axis, what in enumerate(("images", "units")):
        if mask.shape[axis] > 1:
            worst = _worse(worst, independent(f"{row}: neighbouring {what}", mask, np.roll(mask, 1, axis=axis)))
    return worst


def _either(mask: Array, scale: float, tolerance: float) -> NDArray[np.bool_]:
    """Where a value is 0 or ``scale``, within that relative error."""
    close: NDArray[np.bool_] = np.minimum(abs(mask), abs(mask - scale)) <= tolerance * scale
    return close


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
