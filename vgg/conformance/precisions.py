"""Checks of a recipe's precision: as exact as its format, not more exact, and refused if it is not declared."""

from __future__ import annotations

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.comparator import (
    EXACT,
    ROUNDOFF,
    UNDECLARED,
    Limit,
    Verdict,
    compare,
    forward_limit,
    gradient_floors,
    gradient_limit,
)
from ..core.errors import VGGError
from ..core.masks import masks
from ..core.recipe import Recipe
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .checks import LR, declared_mode, eval_mode, refused

_COUNTED = "4 roundoffs of float32: of the rate, its product with the velocity, the sum"
UPDATE = Limit(4 * ROUNDOFF["float32"], _COUNTED, "float32")

EVALUATED = 41
"""The number of images to evaluate: more than a step has, as is usual."""
OVERFLOWS = 16
"""The number of steps: a loss scale that each of them halves is then so small that gradients no longer overflow."""


def precision(worker: Jobs, case: Case, name: str) -> Verdict:
    """Judge a step, then an evaluation: loss, gradients, statistics and logits, within what that format rounds.

    In a format narrower than float32 gradients and logits must be off by more than float32's limit, while parameters
    are float32. In fp16 a step whose gradients overflow must change no parameter and no velocity.
    """
    dtype = Recipe(precision=name).dtype
    place = worker.build(case.spec, case.params(dtype), dtype=dtype)
    if name not in worker.facts()["precisions"].get(place, ()):
        return refusal(worker, name, place)
    results, wanted, state = _step(worker, case, name, dtype)
    floors = gradient_floors({n: a for n, a in wanted.items() if n.startswith(VELOCITY)})
    verdict = compare(results, wanted, limit=gradient_limit(case.spec, name, case.batch), floors=floors)
    narrow = ROUNDOFF[name] > ROUNDOFF["float32"]
    verdicts = [verdict, _updated(case, dtype, state), _unmoved(worker, case, dtype, state)]
    verdicts += [_rounded(results, wanted, gradient_limit(case.spec, "float32", case.batch), name)] if narrow else []
    verdicts += [_overflow(worker, case)] if name == "fp16" else []
    return next((one for one in verdicts if not one.ok), verdict)


def refusal(worker: Jobs, name: str, place: str) -> Verdict:
    """Judge whether a learner in a precision that is not declared for ``place`` is refused in the worker's words."""
    known = worker.facts()["precisions"].get(place, ())
    wanted = f"precision: got {name} on {place}, wanted one of {', '.join(known)}"
    try:
        worker.learner(Recipe(precision=name))
    except VGGError as error:
        if wanted in str(error):
            return Verdict(0.0, UNDECLARED, f"{name} on {place}")
        return refused("refusal", f"got {error}, wanted {wanted}")
    return refused("refusal", f"got a learner, wanted {wanted}")


def _step(worker: Jobs, case: Case, name: str, dtype: str) -> tuple[Arrays, Arrays, Arrays]:
    """Return the learner's results, the oracle's, and the learner's state.

    The oracle's logits follow from the parameters that the learner has after the step.
    """
    x, y, neutral = case.images(dtype), case.labels(), masks(case.spec, case.batch, 0, 0)
    mode = declared_mode(worker)._replace(masks=neutral)
    loss, grads, tape = oracle.loss_and_grads(case.spec, case.params(dtype), x, y, mode)
    worker.learner(Recipe(momentum=0.9, precision=name))
    many = np.resize(x, (EVALUATED, *x.shape[1:]))
    got = {"loss": np.array(worker.step(x, y, LR, neutral)), "logits": worker.evaluate(many)}
    state = worker.state()
    logits = oracle.forward(case.spec, {n: state[n] for n in case.params(dtype)}, many, eval_mode(worker)).logits
    moving = {VELOCITY + n: g for n, g in grads.items()}
    wanted = {"loss": np.array(loss), **moving, **tape.statistics, "logits": logits}
    return {**{n: state[n] for n in wanted if n in state}, **got}, wanted, state


def _unmoved(worker: Jobs, case: Case, dtype: str, state: Arrays) -> Verdict:
    """Judge whether the learner's model itself computes in its own dtype, whatever the precision of a step."""
    x, weights = case.images(dtype), {n: state[n] for n in case.params(dtype)}
    wanted = {"logits of forward()": oracle.forward(case.spec, weights, x, eval_mode(worker)).logits}
    got = {"logits of forward()": worker.forward(x)}
    return compare(got, wanted, limit=forward_limit(case.spec, dtype), dtype=dtype)


def _updated(case: Case, dtype: str, state: Arrays) -> Verdict:
    """Judge whether parameters moved by the learner's own velocities, to the last bits of float32."""
    before = case.params(dtype)
    wanted: dict[str, Array] = {
        n: before[n] - LR * state[VELOCITY + n].astype(np.float64) for n in before if VELOCITY + n in state
    }
    return compare({n: state[n] for n in wanted}, wanted, limit=UPDATE, dtype=dtype)


def _rounded(results: Arrays, wanted: Arrays, float32: Limit, name: str) -> Verdict:
    """Judge whether every weight's gradient, and the logits, are off by more than float32's limit.

    In TF32 one of them is enough: libraries may use TF32, but need not for small products.
    """
    products = [n for n in wanted if n == "logits" or (n.startswith(VELOCITY) and n.endswith("weight"))]
    errors = {n: compare({n: results[n]}, {n: wanted[n]}, limit=np.inf).error for n in products}
    exact = [n for n in products if errors[n] <= float32]
    if exact and (name != "tf32" or exact == products):
        return refused(exact[0], f"off by {errors[exact[0]]:.1e}, which is float32, wanted {name}")
    return Verdict(0.0, float32)


def _overflow(worker: Jobs, case: Case) -> Verdict:
    """Judge steps whose activations fp16 can hold, but whose gradients overflow once the loss is scaled.

    The scale must stay the same however many steps have overflowed. The running statistics must be those of as many
    batches.
    """
    before = case.params("float32")
    worker.build(case.spec, {**before, "fc1.weight": 1000 * before["fc1.weight"]})
    worker.learner(Recipe(momentum=0.9, precision="fp16"))
    held = worker.state()
    for _ in range(OVERFLOWS):
        worker.step(case.images("float32"), case.labels(), LR, masks(case.spec, case.batch, 0, 0))
    after = worker.state()
    moved = [n for n in held if "running_" in n]
    trained = [n for n in held if n != "step" and n not in moved]
    kept = compare({n: after[n] for n in trained}, {n: held[n] for n in trained}, limit=EXACT)
    statistics = compare({n: after[n] for n in moved}, _moved(worker, case), limit=forward_limit(case.spec, "fp16"))
    return statistics if kept.ok else kept


def _moved(worker: Jobs, case: Case) -> Arrays:
    """Return running statistics after ``OVERFLOWS`` equal batches, which count although gradients overflow later."""
    mode = declared_mode(worker)._replace(masks=masks(case.spec, case.batch, 0, 0))
    before = case.params("float32")
    once = oracle.forward(case.spec, before, case.images("float64"), mode).statistics
    moves = (1 - mode.keep**OVERFLOWS) / (1 - mode.keep)
    return {name: before[name] + moves * (array - before[name]) for name, array in once.items()}
