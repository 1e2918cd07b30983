"""Extreme numbers: huge, tiny, at an offset, all equal, or at the ends of what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.blocks import BATCH_NORM_EPSILON, Block, Conv, Head, Pool
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
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .cell import Cell, on
from .checks import LR, declared_mode, differentiates, eval_mode
from .steps import worst

Numbers = tuple[Arrays, Array, Array]
"""Parameters, images (N, C, H, W) and labels (N,)."""
Change = Callable[[Arrays, Array, Array], Numbers]

DTYPES = ("float64", "float32")
STILL = 1 / math.sqrt(BATCH_NORM_EPSILON)
"""The factor by which batch norm multiplies a deviation where nothing varies."""


@dataclass(frozen=True)
class Extreme:
    """A change of a case's numbers.

    ``condition`` is the ratio of a batch norm's input to the differences in it. A variance that is computed as the mean
    of squared deviations loses as many roundoffs; one that is a difference of mean squares loses the square of it.
    """

    case: Case
    change: Change
    condition: float = 0.0

    def numbers(self, dtype: str) -> Numbers:
        """Return the changed numbers, rounded to ``dtype``."""
        params, x = self.case.params(dtype), self.case.images(dtype)
        params, x, y = self.change({n: a.astype(np.float64) for n, a in params.items()}, x, self.case.labels())
        return {n: a.astype(dtype) for n, a in params.items()}, x.astype(dtype), y

    def limit(self, dtype: str, *, back: bool) -> Limit:
        """Return the case's own limit plus what the condition costs; ``back``: for a forward and a backward pass."""
        spec = self.case.spec
        own = gradient_limit(spec, dtype, self.case.batch) if back else forward_limit(spec, dtype)
        if not self.condition:
            return own
        most = self.case.batch * math.prod(spec.input_shape[1:])  # more than the lengths of these convolutions' sums
        lost = CONFIDENCE * (1 + back) * math.sqrt(most) * ROUNDOFF[dtype] * self.condition
        return Limit(
            own + lost, f"{own.basis}; and the square root of a mean's length times {self.condition:.0e}", own.dtype
        )


def small(*, batch_norm: bool = False, lrn: bool = False, classes: int = 5) -> Spec:
    blocks = (Block((Conv(4, lrn=lrn),), Pool(2, 2)), Block((Conv(6),), None))
    head = Head((7,), dropout=0.0)
    return Spec(blocks, (2, 6, 9), classes, head, batch_norm, "extreme")


PLAIN, NORMED, LRN = Case(small()), Case(small(batch_norm=True), batch=4), Case(small(lrn=True))
_NO_POOL = Spec((Block((Conv(4),), None), Block((Conv(3),), None)), (2, 6, 9), 5, Head((7,), 0.0), batch_norm=True)
APART = Case(_NO_POOL, batch=4)
"""A case without a pool: at an offset, rounding would decide a pool's winners."""


def _parameters(part: str, change: Callable[[Array], Array]) -> Change:
    """Return a change of the parameters whose names end in ``part``."""
    return lambda p, x, y: ({n: change(a) if n.endswith(part) else a for n, a in p.items()}, x, y)


def _images(change: Callable[[Array], Array]) -> Change:
    return lambda p, x, y: (p, change(x), y)


def _labels(change: Callable[[Array], Array]) -> Change:
    return lambda p, x, y: (p, x, change(y))


def _variance(value: float) -> Change:
    return _parameters("running_var", lambda a: value * (1 + np.arange(a.size) / a.size))


def _at(value: float) -> Change:
    """Return a change that moves the outputs of convolutions, and running means, to about ``value``."""

    def change(p: Arrays, x: Array, y: Array) -> Numbers:
        far = {n: a + value for n, a in p.items() if n.endswith(("conv1.bias", "running_mean"))}
        return {**p, **far}, x, y

    return change


def unchanged(p: Arrays, x: Array, y: Array) -> Numbers:
    """Return the numbers of the case as they are."""
    return p, x, y


def _faint(p: Arrays, x: Array, y: Array) -> Numbers:
    """Scale images by 1e-12, with biases of zero: beside other biases all images would be alike."""
    return {n: 0 * a if n.endswith(".bias") else a for n, a in p.items()}, x * 1e-12, y


def _scaled_by_turns(a: Array) -> Array:
    scaled: Array = a * np.where(np.arange(a.size) % 2, 100, -0.01)
    return scaled


EXTREMES = {
    "variance_tiny": Extreme(NORMED, _variance(1e-12)),
    "variance_huge": Extreme(NORMED, _variance(1e8)),
    "variance_nil": Extreme(NORMED, _parameters("running_var", np.zeros_like)),
    "variance_thousandth": Extreme(NORMED, _variance(1e-3)),
    "variance_tenth": Extreme(NORMED, _variance(0.1)),
    "variance_below_half": Extreme(NORMED, _variance(0.24)),
    "means_far_below": Extreme(NORMED, _parameters("running_mean", lambda a: a - 1e3)),
    "means_far_above": Extreme(NORMED, _parameters("running_mean", lambda a: a + 30)),
    "offset": Extreme(APART, _at(1e3), 1e3),
    "offset_below": Extreme(APART, _at(-300.0), 300),
    "norm_scales": Extreme(NORMED, _parameters("bn1.weight", _scaled_by_turns)),
    "convs_faint": Extreme(NORMED, lambda p, x, y: ({n: a * 1e-4 if ".conv" in n else a for n, a in p.items()}, x, y)),
    "images_nil": Extreme(NORMED, _images(np.zeros_like), STILL),
    "images_constant": Extreme(NORMED, _images(lambda x: np.full_like(x, 0.7)), STILL),
    "images_alike": Extreme(NORMED, _images(lambda x: np.broadcast_to(x[:1], x.shape).copy())),
    "images_huge": Extreme(PLAIN, _images(lambda x: x * 1e6)),
    "images_tiny": Extreme(PLAIN, _faint),
    "images_nil_plain": Extreme(PLAIN, _images(np.zeros_like)),
    "images_black_and_white": Extreme(PLAIN, _images(lambda x: np.where(x > 0, 1.0, 0.0))),
    "images_at_an_offset": Extreme(PLAIN, _images(lambda x: x + 100)),
    "biases_1e3": Extreme(PLAIN, _parameters("2.conv1.bias", lambda a: a * 1e3)),
    "biases_1e6": Extreme(PLAIN, _parameters("fc1.bias", lambda a: a * 1e6)),
    "biases_negative": Extreme(PLAIN, _parameters("fc1.bias", lambda a: -1e6 * np.abs(a))),
    "logits_hundreds": Extreme(PLAIN, _parameters("fc2.weight", lambda a: a * 200)),
    "logits_thousands": Extreme(PLAIN, _parameters("fc2.weight", lambda a: a * 5e3)),
    "logits_far_above": Extreme(PLAIN, _parameters("fc2.bias", lambda a: a + 800)),
    "logits_far_below": Extreme(PLAIN, _parameters("fc2.bias", lambda a: a - 800)),
    "logits_apart": Extreme(PLAIN, _parameters("fc2.bias", lambda a: a + 1e4 * (np.arange(a.size) - 2))),
    "weights_tiny": Extreme(PLAIN, _parameters("", lambda a: a * 1e-6)),
    "weights_huge": Extreme(PLAIN, _parameters("", lambda a: a * 1e4)),
    "lrn_loud": Extreme(LRN, _images(lambda x: x * 300)),
    "lrn_quiet": Extreme(LRN, _images(lambda x: x * 1e-3)),
    "labels_first": Extreme(PLAIN, _labels(np.zeros_like)),
    "labels_last": Extreme(PLAIN, _labels(lambda y: np.full_like(y, 4))),
    "labels_ends": Extreme(PLAIN, _labels(lambda y: 4 * (np.arange(y.size) % 2))),
}


def extreme(worker: Jobs, name: str, dtype: str) -> Verdict:
    """Judge every activation in eval mode.

    If the backend claims gradients, judge the loss and every gradient too, and with batch norm all of it in train mode.
    """
    one = EXTREMES[name]
    params, x, y = one.numbers(dtype)
    worker.build(one.case.spec, params, dtype=dtype)
    modes = (False, True) if one.case.spec.batch_norm and differentiates(worker) else (False,)
    return worst(verdict for train in modes for verdict in _numbers(worker, one, (params, x, y), dtype, train))


def _numbers(worker: Jobs, one: Extreme, numbers: Numbers, dtype: str, train: bool) -> Iterator[Verdict]:
    params, x, y = numbers
    loss, grads, tape = oracle.loss_and_grads(one.case.spec, params, x, y, declared_mode(worker)._replace(train=train))
    ahead, back = one.limit(dtype, back=False), one.limit(dtype, back=True)
    wanted = {**tape.activations, "logits of forward()": tape.logits}
    got = {**worker.trace(x, train=train), "logits of forward()": worker.forward(x, train=train)}
    flat = dict.fromkeys(
        [*wanted, *_by_channel(wanted)], float(np.finfo(dtype).tiny)
    )  # a channel may be constant once rounded
    alike = one.condition == STILL  # then a channel is one number throughout, which may be near 0
    split = dict if alike else _by_channel
    yield compare(split(got), split(wanted), limit=ahead, dtype=dtype, floors=flat)
    if not differentiates(worker):
        return
    got_loss, got_grads = worker.loss_and_grads(x, y, train=train)
    yield compare({"loss": np.array(got_loss)}, {"loss": np.array(loss)}, limit=back, floors=_loss_floor(tape.logits))
    back = _soft(back, tape.logits, dtype)
    yield compare(got_grads, grads, limit=back, dtype=dtype, floors=_floors(grads, one))


def _by_channel(arrays: Arrays) -> Arrays:
    """Return every channel of a batch norm by itself: one with large numbers would hide one with small ones."""
    split = {f"{n}[{c}]": a[:, c] for n, a in arrays.items() if ".bn" in n for c in range(a.shape[1])}
    return split | {n: a for n, a in arrays.items() if ".bn" not in n}


def _loss_floor(logits: Array) -> dict[str, float]:
    """Return the loss's floor: a loss is a difference of logits, and as exact as they are."""
    return {"loss": float(np.abs(logits).max())}


def _soft(limit: Limit, logits: Array, dtype: str) -> Limit:
    """Return ``limit`` plus what rounding of large logits does to probabilities, except to those that are 0 or 1."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    lost = CONFIDENCE * ROUNDOFF[dtype] * float(np.abs(logits).max()) * float((4 * p * (1 - p)).max())
    return Limit(
        limit + lost, f"{limit.basis}; and {CONFIDENCE:g} roundoffs of the logits where softmax is soft", limit.dtype
    )


def _floors(grads: Arrays, one: Extreme) -> dict[str, float]:
    """Return gradients' floors, also where they cancel if nothing varies: a batch norm's scale, the bias before it."""
    floors = gradient_floors(grads)
    for name in [n for n in grads if ".bn" in n and n.endswith(".bias")]:
        size, layer = float(np.linalg.norm(grads[name])), name.removesuffix(".bias")
        floors[f"{layer}.weight"] = size
        before = f"{layer.replace('.bn', '.conv')}.bias"
        floors[before] = max(floors[before], size * (STILL if one.condition == STILL else 1))
    return floors


def learned(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge all extremes of a case with one learner: evaluation, then a step, with the loss and the whole state."""
    params = case.params(dtype)
    worker.build(case.spec, params, dtype=dtype)
    worker.learner(Recipe(momentum=0.9, precision=dtype))
    still = worker.state()
    named = {name: one for name, one in EXTREMES.items() if one.case is case}
    return worst(as_learned(worker, name, one, dtype, still) for name, one in named.items())


def as_learned(worker: Jobs, name: str, one: Extreme, dtype: str, still: Arrays) -> Verdict:
    """Judge one extreme with a learner that is put into the state ``still``, except for its parameters."""
    params, x, y = one.numbers(dtype)
    worker.restore({**still, **params})
    got = {"logits": worker.evaluate(x), "loss": np.array(worker.step(x, y, LR)), **worker.state()}
    mode, logits = declared_mode(worker), oracle.forward(one.case.spec, params, x, eval_mode(worker)).logits
    loss, grads, tape = oracle.loss_and_grads(one.case.spec, params, x, y, mode)
    weights = {n: a.astype(np.float64) for n, a in params.items()}
    weights, velocity = oracle.sgd(weights, grads, {n: np.zeros_like(g) for n, g in grads.items()}, lr=LR)
    floors = {VELOCITY + n: floor for n, floor in _floors(grads, one).items()}
    floors |= _loss_floor(tape.logits) | {n: LR * floors[VELOCITY + n] for n in grads if VELOCITY + n in floors}
    velocities = {VELOCITY + n: v for n, v in velocity.items()}
    wanted = {"logits": logits, "loss": np.array(loss), **velocities, **weights, **tape.statistics, "step": np.array(1)}
    limit = _soft(one.limit(dtype, back=True), tape.logits, dtype)
    verdict = compare(got, wanted, limit=limit, floors=floors)
    return replace(verdict, reason=verdict.reason and f"{name}: {verdict.reason}")


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield every extreme in both dtypes, for a model and for a learner."""
    for dtype in DTYPES:
        for name in EXTREMES:
            yield f"extremes {name} {dtype}", Cell(on(extreme, name, dtype), "inference", (dtype,))
        for name, case in {"plain": PLAIN, "normed": NORMED}.items():
            yield f"extremes steps_{name} {dtype}", Cell(on(learned, case, dtype), "training", (dtype,))
