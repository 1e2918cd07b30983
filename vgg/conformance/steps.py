"""Several steps in each precision, each judged from the learner's own state before it.

Errors do not add up, so gradients must be within the precision's roundoff, and what momentum, weight decay and learning
rate make of them within float32's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product, starmap

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.comparator import EXACT, ROUNDOFF, Limit, Verdict, compare, gradient_floors, gradient_limit
from ..core.layers import expand
from ..core.oracle import Mode
from ..core.recipe import CHOICES, Recipe
from ..process.client import Jobs
from .cases import Array, Arrays
from .cell import Cell, on
from .checks import declared_mode, refused, swallows
from .courses import COURSES, Course, steady
from .life_strategies import ROUND
from .precisions import refusal

SILENT_RATE = 2.0
"""The learning rate of steps in which only decay and momentum move weights: these may move far."""
SURE = 1e4
"""A logit so far above the others that its softmax is exactly 1 and the gradient is zero."""
TOO_LOUD = 1e4
"""A factor that fp16 can hold in a mask, but not in a scaled gradient of logits that are as large."""


@np.errstate(invalid="ignore")
def steps(worker: Jobs, course: Course, precision: str) -> Verdict:
    """Judge a course in that precision, then a step without a gradient; in fp16 also one that overflows before it."""
    recipe = replace(course.recipe, precision=precision)
    params = {name: array.astype(recipe.dtype) for name, array in steady(course).items()}
    place = worker.build(course.case.spec, params, dtype=recipe.dtype)
    if precision not in worker.facts()["precisions"].get(place, ()):
        return refusal(worker, precision, place)
    worker.learner(recipe)
    return worst(_Walk(worker, course, recipe, declared_mode(worker)).verdicts())


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the first verdict that fails, else the one nearest to its limit."""
    nearest = Verdict(0.0, EXACT)
    for verdict in verdicts:
        if not verdict.ok:
            return verdict
        nearest = max(nearest, verdict, key=lambda one: one.share)
    return nearest


@dataclass(frozen=True)
class _Walk:
    """A learner on its course."""

    worker: Jobs
    course: Course
    recipe: Recipe
    mode: Mode

    def verdicts(self) -> Iterator[Verdict]:
        steps = self.course.steps
        self.worker.restore({**self.worker.state(), "step": np.array(ROUND)})  # as if it had trained for long
        for step in range(steps):
            yield _of(step, self.taken(step))
        if self.recipe.precision == "fp16" and self.course.masks(0):
            yield self.skipped(steps)
            yield _of(steps + 1, self.taken(steps + 1))
        yield self.silent()
        yield self.dead()

    def taken(self, step: int) -> Verdict:
        """Take an ordinary step, then evaluate, and judge both."""
        before, y = self.worker.state(), self.course.labels(step)
        loss = self.worker.step(self.course.images(step), y, self.course.rate(step), self.course.masks(step))
        after, logits = self.worker.state(), self.worker.evaluate(self.course.images(step))
        return worst(self.judged(before, after, {"loss": np.array(loss), "logits": logits}, step))

    def judged(self, before: Arrays, after: Arrays, got: Arrays, step: int) -> Iterator[Verdict]:
        spec, recipe, x = self.course.case.spec, self.recipe, self.course.seen(step)
        mode, still = self.mode._replace(masks=self.course.masks(step)), self.mode._replace(train=False)
        loss, grads, tape = oracle.loss_and_grads(spec, _weights(before), x, self.course.labels(step), mode)
        wanted = {"loss": np.array(loss), "logits": oracle.forward(spec, _weights(after), x, still).logits}
        limit, floors = gradient_limit(spec, recipe.precision, self.course.case.batch), gradient_floors(grads)
        moved = {name: after[name] for name in tape.statistics}
        yield compare(moved, tape.statistics, limit=limit, dtype=recipe.dtype)
        yield compare(got, wanted, limit=limit)
        yield compare(
            *self.gradients(before, after, grads, limit, floors, self.course.rate(step)), limit=limit, floors=floors
        )
        if recipe.momentum:
            yield self.moved(before, after, {n: after[VELOCITY + n] for n in grads}, self.course.rate(step))
        yield compare({"step": after["step"]}, {"step": before["step"] + 1}, limit=EXACT)

    def gradients(
        self, before: Arrays, after: Arrays, grads: Arrays, limit: float, floors: dict[str, float], rate: float
    ) -> tuple[Arrays, Arrays]:
        """Return the gradients that the state shows, and the oracle's.

        Without momentum only weights show them, which is less exact, so ``floors`` are raised in place.
        """
        old = _weights(before)
        if self.recipe.momentum:
            v, u = (_weights({n: state[VELOCITY + n] for n in grads}) for state in (before, after))
            shown = {n: u[n] - self.recipe.momentum * v[n] - self.recipe.weight_decay * old[n] for n in grads}
            return shown, grads
        new = _weights(after)
        for n in grads:
            rounding = 4 * ROUNDOFF[self.recipe.dtype] * float(np.linalg.norm(old[n])) / rate
            floors[n] = max(floors.get(n, 0.0), rounding / limit)
        return {n: (old[n] - new[n]) / rate - self.recipe.weight_decay * old[n] for n in grads}, grads

    def moved(self, before: Arrays, after: Arrays, velocity: Arrays, rate: float) -> Verdict:
        """Judge whether weights moved by the velocity, to the last bits."""
        wanted = {n: before[n] - rate * v.astype(np.float64) for n, v in velocity.items()}
        return compare(
            {n: after[n] for n in wanted}, wanted, limit=roundings(4, self.recipe.dtype), dtype=self.recipe.dtype
        )

    def skipped(self, step: int) -> Verdict:
        """Judge a step whose gradients overflow: no parameter and no velocity may change."""
        before, loud_masks = self.worker.state(), {name: TOO_LOUD * m for name, m in self.course.masks(step).items()}
        mode = self.mode._replace(masks=loud_masks)
        tape = oracle.forward(self.course.case.spec, _weights(before), self.course.seen(step), mode)
        self.worker.step(self.course.images(step), tape.logits.argmin(axis=1), self.course.rate(step), loud_masks)
        after = self.worker.state()
        held = {n: a for n, a in before.items() if "running_" not in n} | {"step": before["step"] + 1}
        return compare({n: after[n] for n in held}, held, limit=EXACT)

    def silent(self) -> Verdict:
        """Judge a step on images of which the net is certain: there is no gradient, so only momentum and decay act."""
        before, last = self.worker.state(), f"{expand(self.course.case.spec)[-1].name}.bias"
        before[last] = np.where(np.arange(before[last].size) == 0, SURE, before[last]).astype(self.recipe.dtype)
        self.worker.restore(before)
        y = np.zeros(self.course.case.batch, np.int64)
        self.worker.step(self.course.images(0), y, SILENT_RATE, self.course.masks(0))
        after, momentum, decay = self.worker.state(), self.recipe.momentum, self.recipe.weight_decay
        trained = [n for n in before if VELOCITY + n in before]
        old = {n: (before[VELOCITY + n].astype(np.float64), before[n].astype(np.float64)) for n in trained}
        velocity = {n: momentum * v + decay * w if momentum else decay * w for n, (v, w) in old.items()}
        floors = {n: momentum * _norm(v) + decay * _norm(w) for n, (v, w) in old.items()}
        got = {n: after[VELOCITY + n] for n in trained} if momentum else {}
        wanted, limit = velocity if momentum else {}, roundings(6, self.recipe.dtype)
        kept = compare(got, wanted, limit=limit, dtype=self.recipe.dtype, floors=floors)
        verdict = worst([kept, self.moved(before, after, got or velocity, SILENT_RATE)])
        return replace(verdict, reason=verdict.reason and f"a step without a gradient: {verdict.reason}")

    def dead(self) -> Verdict:
        """Judge a step with weights that are NaN: the loss must be NaN, and so must the last bias after the step.

        The bias is not judged in fp16, which skips such a step. The weights are those of the first layer, or of the
        last if the backend's ReLUs swallow NaN.
        """
        rows = expand(self.course.case.spec)
        state, weight = self.worker.state(), f"{rows[-1 if swallows(self.worker) else 0].name}.weight"
        state[weight] = np.full_like(state[weight], np.nan)
        self.worker.restore(state)
        loss = self.worker.step(self.course.images(0), self.course.labels(0), SILENT_RATE, self.course.masks(0))
        where, bias = "a step whose weights are not numbers", self.worker.state()[f"{rows[-1].name}.bias"]
        if np.isfinite(loss):
            return refused(where, f"loss {loss:.4g}, wanted NaN")
        if np.isfinite(bias).any() and self.recipe.precision != "fp16":
            return refused(where, f"the last bias is {bias[np.isfinite(bias)][0]:.4g} after it, wanted NaN")
        return Verdict(0.0, EXACT)


def roundings(count: int, dtype: str) -> Limit:
    """Return a limit of ``count`` roundoffs of a state's dtype."""
    basis = f"{count} roundoffs of {dtype}: of rate, momentum and decay, their products, the sums"
    return Limit(count * ROUNDOFF[dtype], basis, dtype)


def _of(step: int, verdict: Verdict) -> Verdict:
    return replace(verdict, reason=verdict.reason and f"step {step}: {verdict.reason}")


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))


def _weights(state: Arrays) -> Arrays:
    """Return the parameters in a state, as float64."""
    return {n: a.astype(np.float64) for n, a in state.items() if n != "step" and not n.startswith(VELOCITY)}


def cells() -> Iterator[tuple[str, Cell]]:
    """Return a cell for every course in every precision."""
    return starmap(_cell, product(COURSES, CHOICES["precision"]))


def _cell(name: str, precision: str) -> tuple[str, Cell]:
    """Return a cell; in float64 all courses except the one with LRN are thorough, because trajectories are as exact."""
    judge, dtype = on(steps, COURSES[name], precision), Recipe(precision=precision).dtype
    thorough = precision == "float64" and name != "lrn"
    return f"steps {name} {precision}", Cell(judge, "training", (dtype,), thorough)
