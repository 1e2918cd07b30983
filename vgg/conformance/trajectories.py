"""Fifty steps of SGD against the oracle: momentum, weight decay, changing rates, batch norm, neutral dropout masks."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..backends import VELOCITY
from ..core import oracle
from ..core.comparator import CONFIDENCE, Limit, Verdict, compare, gradient_floors, gradient_limit
from ..core.errors import VGGError
from ..core.masks import masks
from ..core.oracle import Mode
from ..core.recipe import Recipe
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .checks import declared_mode

STEPS = 50
HALF = STEPS // 2
RATES = {0: 0.01, 20: 0.002, 35: 0.005}
"""Learning rates by the step from which on they hold. At a change, MXNet's and Keras' momentum differs from torch's."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-3
FLOAT64_LIMIT = Limit(
    1e-10, "fixed: float64 rounding over fifty steps stays far below, any wrong rule far above", "float64"
)

Path = list[tuple[float, Arrays]]
"""(loss before the step, state after it) of every step."""


def trajectory(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge the loss and every array of the state, with running statistics, after each step."""
    _begin(worker, case, dtype)
    return _stretch(worker, case, dtype, range(STEPS), declared_mode(worker))


def half_way(source: Jobs, case: Case) -> tuple[Arrays, Mode]:
    """Return ``source``'s state after half of the steps, and its mode; raise ``VGGError`` if a step is wrong."""
    _begin(source, case, "float64")
    mode = declared_mode(source)
    verdict = _stretch(source, case, "float64", range(HALF), mode)
    if not verdict.ok:
        raise VGGError(verdict.reason)
    return source.state(), mode


def relay(worker: Jobs, middle: tuple[Arrays, Mode], case: Case) -> Verdict:
    """Judge the second half of the steps from another backend's state, whose names come in another order.

    Momentum, weights, running statistics and the number of steps must carry over.
    """
    state, before = middle
    _begin(worker, case, "float64")
    worker.restore(dict(reversed(state.items())))
    return _stretch(worker, case, "float64", range(HALF, STEPS), before, declared_mode(worker))


def _begin(worker: Jobs, case: Case, dtype: str) -> None:
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    worker.learner(Recipe(momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, precision=dtype))


def _stretch(worker: Jobs, case: Case, dtype: str, steps: range, *modes: Mode) -> Verdict:
    limit = FLOAT64_LIMIT if dtype == "float64" else band(case, modes[0])
    worst = Verdict(0.0, limit)
    for step in steps:
        (loss, state), (x, y) = path(case, tuple(dict.fromkeys(modes)))[step], _batch(case, step)
        loss_got = worker.step(x.astype(dtype), y, _rate(step), _masks(case, step))
        results = {"loss": np.array(loss_got, dtype), **worker.state()}
        results["step"] = results["step"].astype(dtype)  # the only integer
        verdict = _judged(results, {"loss": np.array(loss), **state}, limit, dtype)
        if not verdict.ok:
            return Verdict(verdict.error, limit, verdict.where, f"step {step}: {verdict.reason}")
        worst = max(worst, verdict, key=lambda one: one.error)
    return worst


@lru_cache(maxsize=16)
def path(case: Case, modes: tuple[Mode, ...], noise: float = 0.0, seed: int = 0) -> Path:
    """Return the oracle's steps. Of two ``modes``, the second holds for the second half.

    ``noise`` is a relative error of every gradient; if it is not zero, weights are rounded to float32.
    """
    random = np.random.RandomState(seed)
    weights: Arrays = case.params("float64")
    velocity = {name: np.zeros_like(a) for name, a in weights.items() if "running_" not in name}
    steps: Path = []
    for step in range(STEPS):
        here = modes[0 if step < HALF else -1]._replace(masks=_masks(case, step))
        loss, grads, tape = oracle.loss_and_grads(case.spec, weights, *_batch(case, step), here)
        floors = gradient_floors(grads)
        grads = {name: g + noise * _noise(random, g, floors.get(name, 0.0)) for name, g in grads.items()}
        weights, velocity = oracle.sgd(
            weights, grads, velocity, lr=_rate(step), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        weights |= tape.statistics
        if noise:
            weights = {name: a.astype(np.float32).astype(np.float64) for name, a in weights.items()}
        moving = {VELOCITY + name: v for name, v in velocity.items()}
        steps.append((loss, {**weights, **moving, "step": np.array(step + 1)}))
    return steps


@lru_cache(maxsize=8)
def band(case: Case, mode: Mode, tries: int = 3) -> Limit:
    """Return float32's limit: how far the oracle strays with rounded weights and gradients one standard error off."""
    noise = gradient_limit(case.spec, "float32", case.batch) / CONFIDENCE
    strayed = [
        _judged({"loss": np.array(loss), **state}, {"loss": np.array(exact), **wanted}, Limit(np.inf, "")).error
        for seed in range(tries)
        for (loss, state), (exact, wanted) in zip(path(case, (mode,), noise, seed), path(case, (mode,)), strict=True)
    ]
    basis = f"{CONFIDENCE:g} times what rounding to float32 and gradients off by {noise:.0e} did to the oracle"
    return Limit(CONFIDENCE * max(strayed), f"{basis}, the worst of {tries} tries", "float32")


def _judged(got: Arrays, wanted: Arrays, limit: Limit, dtype: str | None = None) -> Verdict:
    velocity = {name: a for name, a in wanted.items() if name.startswith(VELOCITY)}
    return compare(got, wanted, limit=limit, dtype=dtype, floors=gradient_floors(velocity))


def _noise(random: np.random.RandomState, grad: Array, floor: float) -> NDArray[np.float64]:
    """Return a random direction with the norm of the gradient, or of its floor."""
    size = max(float(np.linalg.norm(grad)), floor)
    direction: NDArray[np.float64] = random.standard_normal(grad.shape)
    return direction * (size / math.sqrt(grad.size))


def _masks(case: Case, step: int) -> dict[str, NDArray[np.float64]]:
    return masks(case.spec, case.batch, case.seed, step)


def _rate(step: int) -> float:
    return RATES[max(start for start in RATES if start <= step)]


def _batch(case: Case, step: int) -> tuple[Array, Array]:
    fresh = Case(case.spec, case.batch, seed=1000 * (case.seed + 1) + step)
    return fresh.images("float64"), fresh.labels()
