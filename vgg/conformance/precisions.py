"""Checks of a recipe's precision: no worse than its format, no better either, and refused where it is not declared."""

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
"""Images: more than a step takes, as people evaluate."""
OVERFLOWS = 16
"""Steps: a scale that each halves has by then lost all that gradients exceed the range by."""


def precision(worker: Jobs, case: Case, name: str) -> Verdict:
    """One step, then evaluation: loss, gradients, statistics and logits as near to the oracle as that format allows.

    Below float32 gradients and logits are off by more than float32 would be; parameters are float32 all the same. In
    fp16, a step whose gradients overflow changes no parameter and no velocity.
    """
    dtype = Recipe(precision=name).dtype
    place = worker.build(case.spec, case.params(dtype), dtype=dtype)
    if name not in worker.facts()["precisions"].get(place, ()):
        return refusal(worker, name, place)
    found, wanted, state = _step(worker, case, name, dtype)
    floors = gradient_floors({n: a for n, a in wanted.items() if n.startswith(VELOCITY)})
    verdict = compare(found, wanted, limit=gradient_limit(case.spec, name, case.batch), floors=floors)
    narrow = ROUNDOFF[name] > ROUNDOFF["float32"]
    judged = [verdict, _updated(case, dtype, state), _unmoved(worker, case, dtype, state)]
    judged += [_rounded(found, wanted, gradient_limit(case.spec, "float32", case.batch), name)] if narrow else []
    judged += [_overflow(worker, case)] if name == "fp16" else []
    return next((one for one in judged if not one.ok), verdict)


def refusal(worker: Jobs, name: str, place: str) -> Verdict:
    """A learner in a precision that is not declared for ``place`` must be refused, in the words of a worker."""
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
    """What the learner gave, what the oracle says to it, and the learner's state.

    The logits that are wanted follow from the parameters that the learner has now.
    """
    x, y, drawn = case.images(dtype), case.labels(), masks(case.spec, case.batch, 0, 0)
    mode = declared_mode(worker)._replace(masks=drawn)
    loss, grads, tape = oracle.loss_and_grads(case.spec, case.params(dtype), x, y, mode)
    worker.learner(Recipe(momentum=0.9, precision=name))
    many = np.resize(x, (EVALUATED, *x.shape[1:]))
    got = {"loss": np.array(worker.step(x, y, LR, drawn)), "logits": worker.evaluate(many)}
    state = worker.state()
    logits = oracle.forward(case.spec, {n: state[n] for n in case.params(dtype)}, many, eval_mode(worker)).logits
    moving = {VELOCITY + n: g for n, g in grads.items()}
    wanted = {"loss": np.array(loss), **moving, **tape.statistics, "logits": logits}
    return {**{n: state[n] for n in wanted if n in state}, **got}, wanted, state


def _unmoved(worker: Jobs, case: Case, dtype: str, state: Arrays) -> Verdict:
    """The learner's model, asked itself, computes in its own dtype, whatever the precision of a step."""
    x, weights = case.images(dtype), {n: state[n] for n in case.params(dtype)}
    wanted = {"logits of forward()": oracle.forward(case.spec, weights, x, eval_mode(worker)).logits}
    got = {"logits of forward()": worker.forward(x)}
    return compare(got, wanted, limit=forward_limit(case.spec, dtype), dtype=dtype)


def _updated(case: Case, dtype: str, state: Arrays) -> Verdict:
    """The parameters are those before less the learner's own velocities, to the last bits of float32."""
    before = case.params(dtype)
    wanted: dict[str, Array] = {
        n: before[n] - LR * state[VELOCITY + n].astype(np.float64) for n in before if VELOCITY + n in state
    }
    return compare({n: state[n] for n in wanted}, wanted, limit=UPDATE, dtype=dtype)


def _rounded(found: Arrays, wanted: Arrays, float32: Limit, name: str) -> Verdict:
    """Every gradient of a weight, and the logits, are off by more than in float32; in TF32, which is a permission that
    small products may not take up, one of them.
    """
    products = [n for n in wanted if n == "logits" or (n.startswith(VELOCITY) and n.endswith("weight"))]
    errors = {n: compare({n: found[n]}, {n: wanted[n]}, limit=np.inf).error for n in products}
    exact = [n for n in products if errors[n] <= float32]
    if exact and (name != "tf32" or exact == products):
        return refused(exact[0], f"off by {errors[exact[0]]:.1e}, which is float32, wanted {name}")
    return Verdict(0.0, float32)


def _overflow(worker: Jobs, case: Case) -> Verdict:
    """Activations that fp16 can hold, and a gradient that is beyond it once the loss is scaled: which it is by the same
    factor however many steps have overflowed. The running statistics are those of as many batches.
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
    """Running statistics after as many batches, all alike: what overflows later has been averaged all the same."""
    mode = declared_mode(worker)._replace(masks=masks(case.spec, case.batch, 0, 0))
    before = case.params("float32")
    once = oracle.forward(case.spec, before, case.images("float64"), mode).statistics
    moves = (1 - mode.keep**OVERFLOWS) / (1 - mode.keep)
    return {name: before[name] + moves * (array - before[name]) for name, array in once.items()}
