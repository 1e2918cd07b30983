"""The oracle's learner, and how far rounding may move a backend's learner away from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backends import VELOCITY
from ..core import oracle
from ..core.comparator import CONFIDENCE, ROUNDOFF, Limit, compare, gradient_floors, gradient_limit
from ..core.layers import STATISTICS, Layer, expand
from ..core.oracle import Mode
from ..core.recipe import Recipe
from ..core.spec import Spec
from .cases import Array, Arrays
from .courses import prepared
from .exact import leaders

Float64s = dict[str, NDArray[np.float64]]


class Rounding:
    """Relative errors like those of that dtype's arithmetic, drawn once.

    Because they are the same each time they add up, so they are too large rather than too small. A rounded sum of n
    products equals the exact sum of factors that are off by about ``sqrt(n)`` roundoffs, so the forward pass gets such
    parameters. Gradients are off by one standard error of ``gradient_limit``.
    """

    def __init__(self, spec: Spec, shapes: Mapping[str, tuple[int, ...]], dtype: str, seed: int) -> None:
        self.spec, self.dtype = spec, dtype
        random = np.random.RandomState([seed, len(shapes)])
        self.factors, self.directions = {}, {}
        for name, shape in shapes.items():
            length = math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 1
            self.factors[name] = 1 + length * ROUNDOFF[dtype] * random.standard_normal(shape)
            direction = random.standard_normal(shape)
            self.directions[name] = direction / np.linalg.norm(direction)

    def within(self, weights: Float64s) -> Float64s:
        """Return the parameters for which an exact forward pass gives what a rounded one does."""
        return {name: a * self.factors[name] for name, a in weights.items()}

    def after(self, grads: Float64s, batch: int, loss: float) -> Float64s:
        """Return rounded gradients. If the loss is near zero, all of them come from small differences to one."""
        size = _gradient_error(self.spec, self.dtype, batch) * max(1.0, 1.0 / max(loss, 1e-300))
        floors = gradient_floors(grads)
        return {
            n: g + size * max(float(np.linalg.norm(g)), floors.get(n, 0.0)) * self.directions[n]
            for n, g in grads.items()
        }

    def kept(self, arrays: Float64s) -> Float64s:
        """Return the arrays rounded to the dtype in which a state holds them."""
        return {name: a.astype(self.dtype).astype(np.float64) for name, a in arrays.items()}


@dataclass
class OracleLearner:
    """SGD on a network in float64, whose states can be read and restored. ``rounding`` imitates a narrower dtype."""

    spec: Spec
    recipe: Recipe
    mode: Mode
    weights: Float64s
    velocity: Float64s
    steps: int = 0
    rounding: Rounding | None = None

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array]) -> tuple[float, oracle.Tape]:
        """Train on floating images (N, C, H, W); return the loss before the step, and the tape."""
        mode, rounding = self.mode._replace(masks=masks), self.rounding
        weights = rounding.within(self.weights) if rounding else self.weights
        loss, grads, tape = oracle.loss_and_grads(self.spec, weights, x, y, mode)
        if rounding:
            grads = rounding.after(grads, len(x), loss)
        settings = {"lr": lr, "momentum": self.recipe.momentum, "weight_decay": self.recipe.weight_decay}
        moved, velocity = oracle.sgd(self.weights, grads, self.velocity, **settings)
        moved |= tape.statistics
        self.weights, self.velocity = (rounding.kept(moved), rounding.kept(velocity)) if rounding else (moved, velocity)
        self.steps += 1
        return loss, tape

    def evaluate(self, x: Array, *, train: bool = False) -> NDArray[np.float64]:
        """Return logits (N, classes) of floating images in eval mode, or if ``train`` in train mode without dropout."""
        weights = self.rounding.within(self.weights) if self.rounding else self.weights
        return oracle.forward(self.spec, weights, x, self.mode._replace(train=train)).logits

    def gradients(self, x: Array, y: Array) -> tuple[Arrays, oracle.Tape]:
        """Return the loss and its gradients in eval mode, and the tape."""
        weights = self.rounding.within(self.weights) if self.rounding else self.weights
        loss, grads, tape = oracle.loss_and_grads(self.spec, weights, x, y, self.mode._replace(train=False))
        grads = self.rounding.after(grads, len(x), loss) if self.rounding else grads
        return {"loss": np.array(loss), **grads}, tape

    def state(self) -> Arrays:
        """Return parameters, the number of steps and, with momentum, velocities."""
        moving = {VELOCITY + n: v for n, v in self.velocity.items()} if self.recipe.momentum else {}
        return {**self.weights, **moving, "step": np.array(float(self.steps))}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from ``state``."""
        self.weights = {n: np.asarray(state[n], np.float64) for n in self.weights}
        still = np.zeros(())
        self.velocity = {
            n: np.broadcast_to(np.asarray(state.get(VELOCITY + n, still), np.float64), v.shape)
            for n, v in self.velocity.items()
        }
        self.steps = int(state["step"])

    def renew(self, recipe: Recipe) -> None:
        """Begin anew with the weights as they are."""
        self.recipe, self.steps = recipe, 0
        self.velocity = {n: np.zeros_like(v) for n, v in self.velocity.items()}


class Answer(NamedTuple):
    """The oracle's results, and how far rounding may move a backend's away from them.

    ``sound``: this distance is so small that results can be judged. ``close``: a ReLU or a max-pool may have switched,
    so gradients and all that follows from them may have jumped.
    """

    arrays: Arrays
    limit: Limit
    floors: Mapping[str, float]
    sound: bool
    close: bool = False


class Yardstick:
    """The oracle's learner and copies of it that round: a backend may stray as far as these do.

    ``largest`` is the size of the largest batch so far.
    """

    def __init__(self, spec: Spec, recipe: Recipe, params: Arrays, mode: Mode) -> None:
        weights = {n: a.astype(np.float64) for n, a in params.items()}
        velocity = {n: np.zeros_like(a) for n, a in weights.items() if not n.endswith(STATISTICS)}
        self.spec, self.dtype, self.largest = spec, recipe.dtype, 1
        self.exact = OracleLearner(spec, recipe, mode, weights, velocity)
        self.rounded = [copy(self.exact) for _ in range(1 if self.dtype == "float64" else 2)]
        for seed, learner in enumerate(self.rounded):
            learner.rounding = Rounding(spec, {n: a.shape for n, a in weights.items()}, self.dtype, seed)

    @property
    def all(self) -> list[OracleLearner]:
        """The learners, the exact one first."""
        return [self.exact, *self.rounded]

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array]) -> Answer:
        """Train on one batch; return the loss before the step."""
        self.largest = max(self.largest, len(x))
        x = self.images(x)
        (exact, tape), *others = (learner.step(x, y, lr, masks) for learner in self.all)
        close = any(_close(self.spec, tape, other, ROUNDOFF[self.dtype]) for _, other in others)
        answer = self._answer({"loss": np.array(exact)}, [{"loss": np.array(loss)} for loss, _ in others], _floor(tape))
        return answer._replace(close=close)

    def evaluate(self, x: Array, *, train: bool = False) -> Answer:
        """Return logits (N, classes) in eval mode, or if ``train`` in train mode without dropout."""
        x = self.images(x)
        exact, *others = ({"logits": learner.evaluate(x, train=train)} for learner in self.all)
        return self._answer(exact, others, {})

    def gradients(self, x: Array, y: Array) -> Answer:
        """Return the loss and its gradients in eval mode, marked as not sound if they may have jumped."""
        (exact, tape), *others = (learner.gradients(x, y) for learner in self.all)
        close = any(_close(self.spec, tape, other, ROUNDOFF[self.dtype]) for _, other in others)
        floors = gradient_floors({n: g for n, g in exact.items() if n != "loss"}) | _floor(tape)
        answer = self._answer(exact, [grads for grads, _ in others], floors)
        return answer._replace(sound=answer.sound and not close)

    def state(self) -> Answer:
        """Return the whole state."""
        exact, *others = (learner.state() for learner in self.all)
        return self._answer(exact, others, floors(exact) | _scales(exact))

    def take_over(self, state: Mapping[str, Array]) -> None:
        """Go on from a backend's state, which is not judged."""
        for learner in self.all:
            learner.restore(state)

    def kept(self) -> list[Arrays]:
        """Return the state of each learner, for ``restore``."""
        return [learner.state() for learner in self.all]

    def restore(self, states: list[Arrays]) -> None:
        """Restore what ``kept`` returned."""
        for learner, state in zip(self.all, states, strict=True):
            learner.restore(state)

    def load(self, params: Arrays) -> None:
        """Go on with other parameters."""
        for learner in self.all:
            learner.weights = {n: a.astype(np.float64) for n, a in params.items()}

    def renew(self, recipe: Recipe) -> None:
        """Begin anew with the weights as they are."""
        for learner in self.all:
            learner.renew(recipe)

    def images(self, x: Array) -> NDArray[np.float64]:
        """Return uint8 pixels or floating images as the network gets them."""
        return prepared(x, self.exact.recipe, self.spec)

    def _answer(self, exact: Arrays, others: list[Arrays], floor: Mapping[str, float]) -> Answer:
        strayed = max(compare(other, exact, limit=math.inf, floors=floor).error for other in others)
        least = least_limit(self.spec, self.dtype, self.largest)
        basis = f"{least.basis}; or {CONFIDENCE:g} times what rounding did to the oracle, {strayed:.0e}"
        limit = Limit(CONFIDENCE * strayed, basis, least.dtype) if CONFIDENCE * strayed > least else least
        return Answer(exact, limit, floor, limit <= CEILING[self.dtype] * least)


FLOAT64_LIMIT = Limit(
    1e-10, "fixed: what rounds by more in float64 is not judged; any wrong rule is far above", "float64"
)
CEILING = {"float64": 1.0, "float32": 10.0}
"""How many times the least limit rounding may reach before a result is no longer judged."""


@lru_cache(maxsize=64)
def least_limit(spec: Spec, dtype: str, batch: int) -> Limit:
    """Return the limit at the start of a life, when rounding has not added up over steps."""
    return FLOAT64_LIMIT if dtype == "float64" else gradient_limit(spec, dtype, batch)


@lru_cache(maxsize=64)
def _gradient_error(spec: Spec, dtype: str, batch: int) -> float:
    """Return one standard error of gradients in that dtype, from float32's limit, because float64's is a fixed one."""
    return gradient_limit(spec, "float32", batch) / CONFIDENCE * ROUNDOFF[dtype] / ROUNDOFF["float32"]


def floors(state: Arrays) -> dict[str, float]:
    """Return the floors of velocities, which are those of gradients."""
    return gradient_floors({n: a for n, a in state.items() if n.startswith(VELOCITY)})


def _scales(state: Arrays) -> dict[str, float]:
    """Return the norms of batch norms' parameters, as their floors.

    Pristine parameters are all equal, and may still be so after a step, once rounded.
    """
    return {n: float(np.linalg.norm(a)) for n, a in state.items() if ".bn" in n and not n.startswith(VELOCITY)}


def _floor(tape: oracle.Tape) -> dict[str, float]:
    """Return the loss's floor: a loss is a difference of logits, and as exact as they are."""
    return {"loss": max(1.0, float(np.abs(tape.logits).max()))}


def _close(spec: Spec, tape: oracle.Tape, other: oracle.Tape, roundoff: float) -> bool:
    """Return whether rounding may make a ReLU or a max-pool choose otherwise."""
    return any(gap <= 2 * CONFIDENCE * (off + roundoff * size) for gap, off, size in _gaps(spec, tape, other))


def _gaps(spec: Spec, tape: oracle.Tape, other: oracle.Tape) -> Iterator[tuple[float, float, float]]:
    """Yield for each ReLU and max-pool its distance from switching, how far its input strays, and its input's size."""
    rows = expand(spec)
    for before, row in pairwise(rows):
        if row.kind not in ("relu", "max_pool"):
            continue
        x = tape.activations[before.name]
        gap = float(np.abs(x).min()) if row.kind == "relu" else _pool_gap(row, x)
        yield gap, float(np.abs(x - other.activations[before.name]).max()), float(np.abs(x).max())


def _pool_gap(row: Layer, x: NDArray[np.float64]) -> float:
    """Return how near a window's second largest value is to its largest, where that is above zero."""
    if row.attributes["kernel"] == 1:
        return math.inf
    second, largest = leaders(row, x)
    return float((largest - second)[largest > 0].min(initial=math.inf))
