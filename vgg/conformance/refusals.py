"""What a backend must refuse with a ``VGGError`` that names it, without any other effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..backends import VELOCITY
from ..core.blocks import Head
from ..core.comparator import EXACT, Verdict, compare
from ..core.errors import RefusedError, VGGError
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .cell import Cell, on
from .checks import LR, built, narrow, refused

Attempt = tuple[str, Callable[[], object], tuple[str, ...]]
"""What is tried, in words; the call; and words that the refusal must contain."""

_SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,), dropout=0.0), name="refusing")
_POOLED = replace(_SPEC, head=Head((7,), 0.0, global_pool=True), batch_norm=True)
CASES = {"plain": Case(_SPEC), "batch_norm": Case(_POOLED)}


def labels(worker: Jobs, case: Case, train: bool) -> Verdict:
    """Judge whether ``loss_and_grads`` refuses labels that are no class."""
    x = built(worker, case, narrow(worker))
    attempts = [
        (f"label {label}", partial(worker.loss_and_grads, x, y, train=train), ("label", str(label)))
        for label, y in _wrong_labels(case)
    ]
    return _all_refused(attempts, partial(_model, worker, x))


def learned_labels(worker: Jobs, case: Case) -> Verdict:
    """Judge whether a learner's ``step`` refuses labels that are no class."""
    x = _learning(worker, case)
    attempts = [
        (f"label {label}", partial(worker.step, x, y, LR), ("label", str(label))) for label, y in _wrong_labels(case)
    ]
    return _all_refused(attempts, partial(_learner, worker, x))


def parameters(worker: Jobs, case: Case) -> Verdict:
    """Judge whether ``load`` refuses parameters that do not fit the net."""
    dtype = narrow(worker)
    x, other = built(worker, case, dtype), Case(case.spec, seed=1).params(dtype)
    attempts = [(what, partial(worker.call, "load", a), (name,)) for what, name, a in _wrong_arrays(case, other)]
    return _all_refused(attempts, partial(_model, worker, x))


def images(worker: Jobs, case: Case) -> Verdict:
    """Judge whether a model in eval mode refuses images that do not fit the net; a global pool would take any size."""
    x = built(worker, case, narrow(worker))
    attempts: list[Attempt] = [
        (f"{call.__name__}() of images {wrong.shape}", partial(call, wrong), ("images",))
        for wrong in (
            x[:, 1:],
            x[:, :, 1:],
            np.concatenate([x, x], axis=3),
            x.swapaxes(2, 3),
            x[0],
            x.reshape(len(x), -1),
        )
        for call in (worker.forward, worker.trace)
    ]
    return _all_refused(attempts, partial(_model, worker, x))


def states(worker: Jobs, case: Case) -> Verdict:
    """Judge whether ``restore`` refuses states that do not fit the learner."""
    x = _learning(worker, case)
    state = {n: a if n == "step" else (a / 2).astype(a.dtype) for n, a in worker.state().items()}
    wrong = [*_wrong_arrays(case, state), *_wrong_velocities(state)]
    attempts = [(what, partial(worker.restore, arrays), (name,)) for what, name, arrays in wrong]
    return _all_refused(attempts, partial(_learner, worker, x))


def _learning(worker: Jobs, case: Case) -> Array:
    """Make a learner, take a step, and return its images (N, C, H, W)."""
    dtype = narrow(worker)
    x = built(worker, case, dtype)
    worker.learner(Recipe(momentum=0.9, precision=dtype))
    worker.step(x, case.labels(), LR)
    return x


def _wrong_labels(case: Case) -> Iterator[tuple[int, Array]]:
    """Yield (label, labels (N,) that contain it), at each place in turn.

    The labels are those right after the last class, those that frameworks take for "none", and those that become a
    class in a byte or an int32.
    """
    classes = case.spec.classes
    none, wrapped = (-1, -100, 200, 255), (256, 2**31, 2**32, 2**32 + 1, -(2**32))
    for number, label in enumerate((classes, classes + 1, *none, *wrapped)):
        y = case.labels()
        y[number % len(y)] = label
        yield label, y


def _wrong_arrays(case: Case, arrays: Arrays) -> Iterator[tuple[str, str, Arrays]]:
    """Yield (what is wrong in words, the name that the refusal must contain, arrays)."""
    names = [name for name in arrays if name != "step" and not name.startswith(VELOCITY)]
    for name in (names[0], names[-1]):
        yield f"no {name}", name, {n: a for n, a in arrays.items() if n != name}
    for name in ("block1.bn1.num_batches_tracked", "block1.bn2.weight", "block2.conv1.weight", "fc3.bias", "Fc1.bias"):
        yield f"also {name}", name, {**arrays, name: arrays["fc1.bias"]}
    if not case.spec.batch_norm:
        yield "a batch norm's", "block1.bn1.", {**arrays, **_batch_norm(arrays)}
    for name, array in _misshapen(arrays).items():
        yield f"{name} of shape {array.shape}", name, {**arrays, name: array}


def _batch_norm(arrays: Arrays) -> Arrays:
    bias = arrays["block1.conv1.bias"]
    return {f"block1.bn1.{part}": np.ones_like(bias) for part in ("weight", "bias", "running_mean", "running_var")}


def _misshapen(arrays: Arrays) -> Arrays:
    """Return arrays that a framework may accept by mistake: they broadcast, or have as many elements."""
    return {
        "fc1.weight": np.ascontiguousarray(arrays["fc1.weight"].T),
        "fc2.weight": arrays["fc2.weight"][:1],
        "fc1.bias": arrays["fc1.bias"][:1],
        "fc2.bias": arrays["fc2.bias"][None],
        "block1.conv1.weight": np.ascontiguousarray(arrays["block1.conv1.weight"].transpose(2, 3, 1, 0)),
        "block1.conv1.bias": np.concatenate([arrays["block1.conv1.bias"]] * 2),
    }


def _wrong_velocities(state: Arrays) -> Iterator[tuple[str, str, Arrays]]:
    name = f"{VELOCITY}fc1.bias"
    yield f"no {name}", "fc1.bias", {n: a for n, a in state.items() if n != name}
    yield f"{name} of one number", "fc1.bias", {**state, name: state[name][:1]}
    yield "the velocity of nothing", "fc9.bias", {**state, f"{VELOCITY}fc9.bias": state[name]}
    yield "no step", "step", {n: a for n, a in state.items() if n != "step"}
    yield "a step of shape (1,)", "step", {**state, "step": state["step"].reshape(1)}


def _model(worker: Jobs, x: Array) -> Arrays:
    return {**worker.dump(), "logits": worker.forward(x)}


def _learner(worker: Jobs, x: Array) -> Arrays:
    return {**worker.state(), "logits": worker.evaluate(x)}


def _all_refused(attempts: Sequence[Attempt], state: Callable[[], Arrays]) -> Verdict:
    """Judge whether every attempt raises an error with its words, and leaves ``state()`` the same bit for bit."""
    before = state()
    for what, attempt, words in attempts:
        try:
            attempt()
        except VGGError as error:
            # Any other exception may come from anywhere.
            if not isinstance(error, RefusedError) or any(word not in str(error) for word in words):
                return refused(what, f"refused by {str(error)[:200]!r}, wanted a VGGError with {', '.join(words)}")
        else:
            return refused(what, "accepted, wanted an error")
        unharmed = compare(state(), before, limit=EXACT)
        if not unharmed.ok:
            return refused(what, f"refused, but not without a change: {unharmed.reason}")
    return Verdict(0.0, EXACT)


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield refusals of labels, parameters, images and states, by a model and by a learner."""
    for name, case in CASES.items():
        train = case.spec.batch_norm
        yield f"refusals labels {name}", Cell(on(labels, case, train), "gradients", ())
        yield f"refusals parameters {name}", Cell(on(parameters, case), "inference", ())
        yield f"refusals images {name}", Cell(on(images, case), "inference", ())
        yield f"refusals states {name}", Cell(on(states, case), "training", ())
    yield "refusals steps", Cell(on(learned_labels, CASES["plain"]), "training", ())
