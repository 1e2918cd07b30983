"""The masks that learners draw themselves: over steps, across seeds, after evaluation and from restored states."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..backends import VELOCITY
from ..core.comparator import EXACT, Verdict
from ..core.errors import mismatch
from ..core.recipe import CHOICES, Recipe
from ..process.client import Jobs
from .cases import Arrays
from .cell import Cell, on
from .checks import LR, declared, declared_mode, dropout_scale, refused
from .independence import Kept, independence, unrelated
from .life_strategies import ROUND
from .precisions import refusal
from .steps import worst
from .unmasking import Draw, stepped, unmasked


@dataclass(frozen=True)
class Life:
    """``steps`` steps in a row, then one step from each of the ``leaps``, the step numbers of restored states."""

    draw: Draw
    steps: int = 3
    leaps: tuple[int, ...] = ()


def masking(worker: Jobs, lives: tuple[Life, ...]) -> Verdict:
    """Judge every life of a precision.

    Each step must be the oracle's with the masks that are read off it. The masks must be independent of each other and
    of those of lives with other seeds. They may depend on seed and step alone, not on momentum or the learning rate.
    """
    draw = lives[0].draw
    place = worker.build(draw.spec, draw.params, dtype=draw.recipe.dtype)
    if draw.precision not in worker.facts()["precisions"].get(place, ()):
        return refusal(worker, draw.precision, place)
    return worst(_verdicts(worker, lives))


def _verdicts(worker: Jobs, lives: tuple[Life, ...]) -> Iterator[Verdict]:
    before: list[tuple[Draw, Kept]] = []
    for life in lives:
        kept = yield from _lived(_Learner(worker, life.draw), life)
        yield _named(f"seed {life.draw.seed}", independence(kept, life.draw.rate))
        for draw, others in before:
            seeds = f"seeds {draw.seed} and {life.draw.seed}"
            yield _named(seeds, unrelated(others, kept, (draw.rate, life.draw.rate)))
        before.append((life.draw, kept))
    if life.draw.precision == "float32":
        yield _repeated(_Learner(worker, replace(life.draw, momentum=0.75, labelling=11)), 0, kept[0])
        yield from _halved(worker, lives[0], before[0][1])


def _named(what: str, verdict: Verdict) -> Verdict:
    return replace(verdict, reason=verdict.reason and f"masks of {what}: {verdict.reason}")


class _Learner:
    """A learner whose weights do not change, because its learning rate is 0, and whose velocity shows gradients.

    Only its last step, which must keep the units that an earlier one kept, has another learning rate.
    """

    def __init__(self, worker: Jobs, draw: Draw) -> None:
        self.worker, self.draw = worker, draw
        self.mode = declared_mode(worker)
        self.scale = dropout_scale(declared(worker)["dropout"], draw.rate)
        worker.build(draw.spec, draw.params, dtype=draw.recipe.dtype)
        worker.learner(draw.recipe)
        self.state = worker.state()

    def step(self, lr: float = 0.0) -> tuple[Kept, float, Arrays]:
        """Take a step; return the units that it keeps, its loss and its gradients."""
        before = self.state
        loss = self.worker.step(self.draw.images, self.draw.labels, lr)
        self.state = self.worker.state()
        if self.state["step"] != before["step"] + 1:
            raise mismatch("state()['step']", self.state["step"], f"{before['step'] + 1} after a step")
        moved = {n: (before[n], after) for n, after in self.state.items() if n.startswith(VELOCITY)}
        momentum = self.draw.recipe.momentum
        grads = {n.removeprefix(VELOCITY): v.astype(np.float64) - momentum * u for n, (u, v) in moved.items()}
        return unmasked(self.draw, grads), loss, grads

    def judged(self, number: int) -> Generator[Verdict, None, Kept]:
        """Take a step, yield the verdict on it, and return the units that it kept."""
        kept, loss, grads = self.step()
        verdict = stepped(self.draw, kept, self.scale, self.mode, (loss, grads))
        yield replace(verdict, reason=verdict.reason and f"step {number}: {verdict.reason}")
        return kept

    def restore(self, state: Arrays) -> None:
        """Go on from ``state``."""
        self.worker.restore(state)
        self.state = state


def _lived(learner: _Learner, life: Life) -> Generator[Verdict, None, Kept]:
    """Take the steps of a life, yield verdicts on them, and return their masks (draws, layers, images, units)."""
    draws: list[Kept] = []
    for number in range(life.steps):
        before = learner.state
        if number and number % 2 == 0:
            learner.worker.evaluate(life.draw.images)
        draws.append((yield from learner.judged(number)))
    learner.restore(before)
    yield _repeated(learner, life.steps - 1, draws[-1])
    for number in life.leaps:
        learner.restore({**before, "step": np.array(number, before["step"].dtype)})
        draws.append((yield from learner.judged(number)))
    learner.restore({**before, "step": np.zeros_like(before["step"])})
    yield _repeated(learner, 0, draws[0], lr=LR)
    return np.stack(draws)


def _repeated(learner: _Learner, number: int, kept: Kept, lr: float = 0.0) -> Verdict:
    """Judge whether a step from a restored state keeps the units that it kept before, at any learning rate."""
    again, *_ = learner.step(lr)
    if np.array_equal(again, kept):
        return Verdict(0.0, EXACT)
    differ = f"{np.count_nonzero(again != kept)} of {kept.size} units"
    return refused(f"step {number}", f"from a restored state its masks differ in {differ} from those before")


def _halved(worker: Jobs, life: Life, kept: Kept) -> Iterator[Verdict]:
    """Judge steps on half as many images, twice as far as the leaps of ``life``, against its masks.

    A backend that counts images and not steps draws the same masks there.
    """
    learner, draws = _Learner(worker, replace(life.draw, batch=life.draw.batch // 2)), list[Kept]()
    for number in life.leaps:
        learner.restore({**learner.state, "step": np.array(2 * number, learner.state["step"].dtype)})
        draws.append((yield from learner.judged(2 * number)))
    if draws:
        yield _named("half as many images", unrelated(kept, np.stack(draws), (life.draw.rate, life.draw.rate)))


_EPOCHS = (2**4 * 3**2 * 5**4 * 7 * 67 * 47, 2 * 5 * 7 * 11 * 13 * 17 * 23 * 59)
"""Multiples of the numbers of steps in an epoch: 1875, 938, 469, 235, 600 and 1200 for 60,000 images, 782, 391 and 118
for 50,000 or 60,000, 5005 for those of ImageNet, 45 for the digits.
"""
_SEED = 251 * 257 * 509 * 521 * 997 * 1009
"""A seed that is 0 to a backend that takes seeds modulo one of the likely primes."""
_WIDE, _ODD, _FIVE, _TWO, _ONE = (384,) * 3, (375,) * 3, (225,) * 5, (400,) * 2, (2048,)
LIVES = {
    "float64": (
        Life(Draw(0.1, "float64", 2, 16, _FIVE, sides=(4, 5)), leaps=(8, 64, ROUND)),
        Life(Draw(0.9, "float64", 3, 33, _ODD), 2),
        Life(Draw(0.3, "float64", 4, 1, _ONE, sides=(3, 2), batch_norm=True), 6, leaps=(100, 256, 1000, 65536)),
        Life(Draw(0.3, "float64", 5, 1, _ONE), 2),
    ),
    "float32": (
        Life(Draw(0.5, "float32", 0, 12, _WIDE), 4, leaps=(16, 1024)),
        Life(Draw(0.3, "float32", ROUND, 5, _WIDE, sides=(3, 2), batch_norm=True)),
        Life(Draw(0.25, "float32", 1 << 32, 1, _ONE), 24, leaps=(128, 65536, ROUND, *_EPOCHS)),
        Life(Draw(0.5, "float32", _SEED, 12, _WIDE), 1),
    ),
    "tf32": (Life(Draw(0.5, "tf32", 4, 16, _WIDE)),),
    "bf16": (Life(Draw(0.1, "bf16", 5, 10, _WIDE, sides=(2, 3))),),
    "fp16": (Life(Draw(0.9, "fp16", 6, 32, _TWO)),),
}
"""The lives of each precision: every rate; batches of one, of more than eight and of more than 32; floating images and
pixels; widths that 128 divides, and odd ones. Lives of one precision have different seeds, and their masks line up
where they begin alike. Some seeds and steps are so far apart that a backend that takes them modulo a likely number
draws the same masks twice. Some steps are those of the next seed for a backend that adds them to a hundred or a
thousand times the seed.
"""

RATES = (0.5, 0.25, 0.3, 0.1, 0.9, 0.02)


def _thorough(precision: str) -> tuple[Life, ...]:
    """Return lives with every rate, on pixels and floats in turn, and with seeds that differ in one bit or by one."""
    sides = ((5, 4), None)
    rates = [Life(Draw(rate, precision, 10 + i, 10, _WIDE, sides[i % 2])) for i, rate in enumerate(RATES)]
    seeds = [Life(Draw(0.5, precision, seed, 2, _ONE), 2) for seed in (20, 21, 276, 20 + (1 << 16), 20 + (1 << 31))]
    return (*rates, *seeds)


def agreeing(worker: Jobs, draw: Draw) -> Verdict:
    """Judge whether the masks behind a model's gradients are those of its trace, which ``modes`` judges."""
    worker.build(draw.spec, draw.params, dtype=draw.precision)
    trained = worker.trace(draw.images, train=True)
    loss, grads = worker.loss_and_grads(draw.images, draw.labels, train=True)
    kept = unmasked(draw, {name: grad.astype(np.float64) for name, grad in grads.items()})
    for row, own in zip(draw.rows, kept, strict=True):
        if not np.array_equal(own, trained[row] > 0):
            return refused(row, f"{np.count_nonzero(own != (trained[row] > 0))} units differ in trace and in gradients")
    scale = dropout_scale(declared(worker)["dropout"], draw.rate)
    return stepped(draw, kept, scale, declared_mode(worker), (loss, grads))


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield a cell for every precision, and a thorough one with every rate."""
    for precision in CHOICES["precision"]:
        dtypes = (Recipe(precision=precision).dtype,)
        yield f"masking {precision}", Cell(on(masking, LIVES[precision]), "training", dtypes)
        yield f"masking rates {precision}", Cell(on(masking, _thorough(precision)), "training", dtypes, thorough=True)
    for rate, dtype in ((0.5, "float32"), (0.3, "float64")):
        judge, thorough = on(agreeing, Draw(rate, dtype, 0, 16, _TWO)), dtype == "float64"
        yield f"masking gradients {dtype}", Cell(judge, "gradients", (dtype,), thorough)
