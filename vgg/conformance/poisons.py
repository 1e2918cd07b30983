"""Numbers that are not ordinary: NaN and infinity must pass through, and every bit must survive loading and dumping."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..core import oracle
from ..core.blocks import Head
from ..core.comparator import EXACT, Limit, Verdict, compare, forward_limit
from ..core.layers import expand
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .cell import Cell, on
from .checks import LR, differentiates, eval_mode, forward, refused, swallows
from .extremes import DTYPES, LRN, NORMED, PLAIN, Change, Extreme, Numbers, as_learned, small, unchanged
from .steps import worst


def one_class(worker: Jobs, dtype: str) -> Verdict:
    """Judge a net of one class: softmax is 1, so the loss and every gradient are exactly 0, whatever the logit is."""
    case = Case(small(classes=1))
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    loss, grads = worker.loss_and_grads(case.images(dtype), case.labels())
    got = {"loss": np.array(loss), **grads}
    nothing = compare(got, {name: np.zeros_like(a) for name, a in got.items()}, limit=EXACT)
    return worst([nothing, forward(worker, case, dtype, train=False)])


def small_loss(worker: Jobs, dtype: str) -> Verdict:
    """Judge a net that is right about every image: its loss is about 1e-5, also in a learner's step."""
    params, y = PLAIN.params(dtype), np.ones_like(PLAIN.labels())
    params["fc2.bias"] = params["fc2.bias"] + np.array([0, 14, 0, 0, 0], dtype)
    x = PLAIN.images(dtype)
    wanted, _, tape = oracle.loss_and_grads(PLAIN.spec, params, x, y)
    worker.build(PLAIN.spec, params, dtype=dtype)
    own, _ = worker.loss_and_grads(x, y)
    worker.learner(Recipe(momentum=0.9, precision=dtype))
    got = {"loss": np.array(own), "loss of a step": np.array(worker.step(x, y, LR))}
    floors = dict.fromkeys(got, float(np.abs(tape.logits).max()))
    return compare(got, dict.fromkeys(got, np.array(wanted)), limit=forward_limit(PLAIN.spec, dtype), floors=floors)


def bits(worker: Jobs, dtype: str) -> Verdict:
    """Judge whether ``dump`` returns what ``load`` got, and ``state`` what ``restore`` got, for unusual numbers too."""
    case, info = PLAIN, np.finfo(dtype)
    odd = [np.nan, np.inf, -np.inf, -0.0, 0.0, info.max, info.min, info.tiny, info.smallest_subnormal, -info.tiny / 2]
    params = {n: np.resize(np.array(odd, dtype), a.shape) for n, a in case.params(dtype).items()}
    worker.build(case.spec, params, dtype=dtype)
    loaded = compare(_bytes(worker.dump()), _bytes(params), limit=EXACT)
    worker.learner(Recipe(momentum=0.9, precision=dtype))
    state = {n: a if n == "step" else np.resize(np.array(odd[::-1], dtype), a.shape) for n, a in worker.state().items()}
    worker.restore(state)
    return worst([loaded, compare(_bytes(worker.state()), _bytes(state), limit=EXACT)])


def _bytes(arrays: Arrays) -> Arrays:
    return {n: np.frombuffer(a.tobytes(), np.uint8) for n, a in arrays.items() if n != "step"}


def _spoilt(name: str, value: float) -> Change:
    """Return a change of one number of the parameter ``name`` to ``value``."""

    def change(p: Arrays, x: Array, y: Array) -> Numbers:
        spoilt = p[name].copy()
        spoilt.flat[spoilt.size // 2] = value
        return {**p, name: spoilt}, x, y

    return change


def _spoilt_pixel(value: float) -> Change:
    """Return a change of one pixel of the second image to ``value``."""

    def change(p: Arrays, x: Array, y: Array) -> Numbers:
        x = x.copy()
        x[1, 0, 3, 4] = value
        return p, x, y

    return change


RUNNING = ("variance", "mean")
"""Name endings of poisons in running statistics, which do nothing in train mode."""
POOLED = Case(Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((), 0.0, global_pool=True)))
POISONS = {
    "nan_pixel": Extreme(PLAIN, _spoilt_pixel(np.nan)),
    "nan_pixel_normed": Extreme(NORMED, _spoilt_pixel(np.nan)),
    "nan_pixel_lrn": Extreme(LRN, _spoilt_pixel(np.nan)),
    "inf_pixel": Extreme(PLAIN, _spoilt_pixel(np.inf)),
    "nan_pixel_pooled": Extreme(POOLED, _spoilt_pixel(np.nan)),
    "nan_weight": Extreme(PLAIN, _spoilt("block1.conv1.weight", np.nan)),
    "nan_hidden_bias": Extreme(PLAIN, _spoilt("fc1.bias", np.nan)),
    "nan_last_bias": Extreme(PLAIN, _spoilt("fc2.bias", np.nan)),
    "nan_scale": Extreme(NORMED, _spoilt("block2.bn1.weight", np.nan)),
    "nan_variance": Extreme(NORMED, _spoilt("block1.bn1.running_var", np.nan)),
    "nan_mean": Extreme(NORMED, _spoilt("block2.bn1.running_mean", np.nan)),
}


@np.errstate(all="ignore")
def poison(worker: Jobs, name: str, dtype: str) -> Verdict:
    """Judge whether a poison reaches the logits that depend on it and no others, and makes the loss NaN or infinite.

    If the backend declares that its ReLUs and max-pools swallow NaN, results behind them may be finite; the other
    images must be unaffected all the same.
    """
    one = POISONS[name]
    params, x, y = one.numbers(dtype)
    worker.build(one.case.spec, params, dtype=dtype)
    logits = oracle.forward(one.case.spec, params, x, eval_mode(worker)).logits
    last = list(worker.trace(x).values())[-1]
    logits_got = {"logits": worker.forward(x), "the trace's logits": last}
    lost, limit = _lost(worker, name), one.limit(dtype, back=False)
    verdict = worst(_poisoned(what, got, logits, limit, lost=lost) for what, got in logits_got.items())
    if lost or not verdict.ok or not differentiates(worker):
        return verdict
    loss, grads = worker.loss_and_grads(x, y)
    last_bias = grads[f"{expand(one.case.spec)[-1].name}.bias"]
    trained, _ = worker.loss_and_grads(x, y, train=True) if not name.endswith(RUNNING) else (np.nan, {})
    losses = _dead("the loss", np.array(loss)), _dead("the loss in train mode", np.array(trained))
    return worst([verdict, *losses, _dead("the last bias's gradient", last_bias)])


@np.errstate(all="ignore")
def poisoned_steps(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge all poisons of a case with one learner: evaluation and a step's loss; then a sound state."""
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    worker.learner(Recipe(momentum=0.9, precision=dtype))
    still = worker.state()

    def verdicts() -> Iterator[Verdict]:
        for name, one in POISONS.items():
            if one.case is case:
                params, x, y = one.numbers(dtype)
                worker.restore({**still, **params})
                logits = oracle.forward(case.spec, params, x, eval_mode(worker)).logits
                limit, what, lost = one.limit(dtype, back=False), f"{name}: logits", _lost(worker, name)
                yield _poisoned(what, worker.evaluate(x), logits, limit, lost=lost)
                if not lost and not name.endswith(RUNNING):
                    yield _dead(f"{name}: the loss of a step", np.array(worker.step(x, y, LR)))
        yield as_learned(worker, "afterwards", Extreme(case, unchanged), dtype, still)

    return worst(verdicts())


def _lost(worker: Jobs, name: str) -> bool:
    """Return whether the backend may swallow the poison of that name: all except one lie before a ReLU."""
    return swallows(worker) and name != "nan_last_bias"


def _poisoned(what: str, got: Array, wanted: Array, limit: Limit, *, lost: bool) -> Verdict:
    """Judge whether logits are finite where the oracle's are, or if ``lost`` also elsewhere, and agree with these."""
    finite, finite_wanted = (np.isfinite(a) for a in (got, wanted))
    if not np.array_equal(finite & finite_wanted if lost else finite, finite_wanted):
        return refused(what, f"finite at {_places(finite)} of {got.shape}, wanted {_places(finite_wanted)}")
    rest = np.where(finite_wanted, got, 0), np.where(finite_wanted, wanted, 0)
    return compare({what: rest[0]}, {what: rest[1]}, limit=limit)


def _places(finite: Array) -> str:
    return "nowhere" if not finite.any() else "rows " + ", ".join(str(r) for r in np.unique(np.nonzero(finite)[0]))


def _dead(what: str, array: Array) -> Verdict:
    finite = np.isfinite(array)
    return (
        refused(what, f"got {array[finite].flat[0]:.4g}, wanted NaN or infinity")
        if finite.any()
        else Verdict(0.0, EXACT)
    )


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield every poison in both dtypes, for a model and for a learner."""
    for dtype in DTYPES:
        for name in POISONS:
            yield f"extremes {name} {dtype}", Cell(on(poison, name, dtype), "inference", (dtype,))
        for name, case in {"plain": PLAIN, "normed": NORMED}.items():
            yield f"extremes poisoned_{name} {dtype}", Cell(on(poisoned_steps, case, dtype), "training", (dtype,))
        yield f"extremes one_class {dtype}", Cell(on(one_class, dtype), "gradients", (dtype,))
        yield f"extremes small_loss {dtype}", Cell(on(small_loss, dtype), "training", (dtype,))
        yield f"extremes bits {dtype}", Cell(on(bits, dtype), "training", (dtype,))
