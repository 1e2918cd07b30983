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
    """The masks that a learner draws in every layer, read off its gradients; and with them loss and gradients as the
    oracle has them.

    For one image the gradient of a dense weight is that of its bias times what goes in: the hidden units before it
    times their mask. For two copies of the image a column of it is zero where both have dropped the unit.
    """
    one, params, mode, rate = replace(case, batch=1), _alive(case), declared_mode(worker), case.spec.head.dropout
    scale = dropout_scale(declared(worker)["dropout"], rate)
    *steps, (_, twice) = _steps(worker, one, params, copies=(1, 1, 2))
    drawn, worst = [], Verdict(0.0, SIGMAS)
    for loss, grads in steps:
        drawn.append(_masks_behind(one, params, mode, grads, scale))
        for row, mask in drawn[-1].items():
            worst = _worse(worst, dropped(f"a step's {row}", mask, rate, scale, tolerance=1e-9))
        for layers in pairwise(drawn[-1].values()):
            worst = _worse(worst, independent("masks of neighbouring layers of a step", *layers))
        worst = _worse(worst, _stepped(one, params, mode._replace(masks=_cleaned(drawn[-1], scale)), loss, grads))
    for row in drawn[0]:
        worst = _worse(worst, independent(f"{row}: masks of neighbouring steps", drawn[0][row], drawn[1][row]))
        worst = _worse(worst, _both_dropped(row, twice[f"{_after(row)}.weight"], rate))
    return worst


def _alive(case: Case) -> Arrays:
    """The case's parameters, but that every hidden unit is on whatever is dropped before it: all of a mask is seen."""
    params = case.params("float64")
    for _, row in dropouts(case):
        layer = row.removesuffix(".dropout")
        params[f"{layer}.weight"] /= 64
        params[f"{layer}.bias"] = np.ones_like(params[f"{layer}.bias"])
    return params


def _after(row: str) -> str:
    """'fc1.dropout' -> 'fc2'."""
    return f"fc{int(row.removeprefix('fc').removesuffix('.dropout')) + 1}"


def _steps(worker: Jobs, one: Case, params: Arrays, copies: tuple[int, ...]) -> Iterator[tuple[float, Arrays]]:
    """Loss and gradients, which a velocity holds, of a step on so many copies of one image; the weights stay."""
    x, y = one.images("float64"), one.labels()
    before: Arrays = {}
    worker.build(one.spec, params, dtype="float64")
    worker.learner(Recipe(momentum=0.5, precision="float64"))
    for count in copies:
        loss = worker.step(np.repeat(x, count, axis=0), np.repeat(y, count), 0.0)
        after = {n.removeprefix(VELOCITY): v for n, v in worker.state().items() if n.startswith(VELOCITY)}
        yield loss, {name: v - 0.5 * before.get(name, 0.0) for name, v in after.items()}
        before = after


def _masks_behind(one: Case, params: Arrays, mode: reference.Mode, grads: Arrays, scale: float) -> Arrays:
    """By layer, what its units were multiplied by, (1, units): the first one's from what the oracle puts in, the next
    one's from what it then puts in.
    """
    found: Arrays = {}
    all_kept = {row: np.ones((1, width)) for (_, row), width in zip(dropouts(one), one.spec.head.hidden, strict=True)}
    for before, row in dropouts(one):
        weight, bias = (grads[f"{_after(row)}.{part}"] for part in ("weight", "bias"))
        unit = np.abs(bias).argmax()
        so_far = mode._replace(masks=all_kept | _cleaned(found, scale))
        hidden = reference.forward(one.spec, params, one.images("float64"), so_far).activations[before]
        found[row] = weight[unit] / bias[unit] / hidden
    return found


def _cleaned(masks: Arrays, scale: float) -> Arrays:
    """Without rounding."""
    return {row: np.where(mask > scale / 2, scale, 0.0) for row, mask in masks.items()}


def _stepped(one: Case, params: Arrays, mode: reference.Mode, loss: float, grads: Arrays) -> Verdict:
    """A step with its own masks against the oracle's."""
    exact, wanted, _ = reference.loss_and_grads(one.spec, params, one.images("float64"), one.labels(), mode)
    found = {"loss": np.array(loss), **grads}
    limit = gradient_limit(one.spec, "float64", 1)
    return compare(found, {"loss": np.array(exact), **wanted}, limit=limit, floors=gradient_floors(wanted))


def _both_dropped(row: str, weight: Array, rate: float) -> Verdict:
    """Of two copies of an image: the share of units that neither passes on, from the next weight's gradient."""
    columns = np.abs(weight).max(axis=0)
    return _share(f"a step's {row}: two images drop", columns <= 1e-9 * columns.max(), rate**2)


def _share(what: str, seen: NDArray[np.bool_], wanted: float) -> Verdict:
    """How far, in standard errors, the share that is seen lies from the one that is wanted."""
    off = abs(seen.mean() - wanted) / math.sqrt(wanted * (1 - wanted) / seen.size)
    reason = f"{what} {seen.mean():.3f} of the units, wanted {wanted:.3f}: {off:.0f} standard errors"
    return Verdict(off, SIGMAS, what, "" if off <= SIGMAS else reason)


def dropped(row: str, mask: Array, rate: float, scale: float, tolerance: float) -> Verdict:
    """A mask (N, units), NaN where nothing can be seen: its values, its rate, its neighbours."""
    seen = mask[~np.isnan(mask)]
    odd = seen[~_either(seen, scale, tolerance)]
    if odd.size:
        return refused(row, f"train mode multiplies by {odd[0]:.9g}, wanted 0 or {scale:.9g}")
    kept = seen > 0.5 * scale
    if not kept.any():
        return refused(row, "train mode keeps nothing")
    worst = _share(f"{row} keeps", kept, 1 - rate)
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
