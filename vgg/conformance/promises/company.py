"""Promises about other models, other learners, other threads and other users of random generators."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ...core import oracle
from ...core.comparator import Verdict, compare, forward_limit
from .arrays import Arrays, copied
from .stage import CASE, LR, STEPS, BrokenError, Stage, batch, images, life, params, recipe, start

_SEEDS = {"torch": "manual_seed", "tensorflow": "random.set_seed", "mxnet": "random.seed", "paddle": "seed"}
"""The functions by which frameworks seed the random generator that their process shares."""


def models(stage: Stage, dtype: str) -> None:
    """Judge whether models share nothing, and each computes in its own dtype, whichever was built first."""
    backend, other = stage.backend, {"float64": "float32", "float32": "float64"}[dtype]
    one, x = stage.model(dtype), images(0, dtype)
    logits = {"logits": np.array(backend.forward(one, x))}
    for order in ((dtype, other), (other, dtype)):
        built = {each: stage.build(each, seed=1) for each in order}
        for each in (*order, *reversed(order)):
            _accurate(stage, built[each], each, f"forward() of a {each} model beside others")
        held = _used(stage, built[dtype], dtype)
        kept = copied(held)
        _used(stage, one, dtype, number=3)
        _used(stage, built[dtype], dtype, number=4)
        stage.same(held, kept, "results, after other calls")
        stage.same(backend.dump(one), stage.dumped(dtype), "dump() after another model was built, loaded and evaluated")
        stage.same({"logits": backend.forward(one, x)}, logits, "forward() after another model was loaded")
        backend.load(one, params(dtype))
        stage.same(backend.dump(built[dtype]), stage.dumped(dtype, seed=1), "dump() after another model was loaded")
    _apart(stage, dtype)


def _apart(stage: Stage, dtype: str) -> None:
    """Judge whether two models that were loaded from the same arrays stay independent."""
    arrays = params(dtype)
    one, other = (stage.backend.load(stage.model(dtype, number), arrays) for number in range(2))
    stage.backend.load(one, params(dtype, seed=1))
    stage.same(stage.backend.dump(other), stage.dumped(dtype), "dump() after a model of the same arrays got others")


def _accurate(stage: Stage, model: Any, dtype: str, what: str) -> None:
    x = images(1, dtype)
    wanted = oracle.forward(CASE.spec, params(dtype, seed=1), x).logits
    verdict: Verdict = compare(
        {"logits": stage.backend.forward(model, x)},
        {"logits": wanted},
        limit=forward_limit(CASE.spec, dtype),
        dtype=dtype,
    )
    if not verdict.ok:
        raise BrokenError(f"{what}: {verdict.reason}")


def _used(stage: Stage, model: Any, dtype: str, number: int = 2) -> Arrays:
    """Call all functions of ``model`` that a backend of any level has; return their results."""
    x, backend = images(number, dtype), stage.backend
    traced = {f"trace() {name}": array for name, array in backend.trace(model, x, train=stage.modes[-1]).items()}
    return {"logits": backend.forward(model, x), **traced, **backend.dump(model)}


def learners(stage: Stage, dtype: str) -> None:
    """Judge whether a learner's numbers stay the same bits whatever happens between its steps.

    Other models and learners are used then, and so is the learner's own model.
    """
    other = {"float64": "float32", "float32": "float64"}[dtype]
    wanted = life(stage.learner(dtype), dtype)
    twin, (own, learner) = stage.learner("float64", 1), stage.pair(dtype)
    rivals = ((twin, "float64"), (stage.learner(other), other))

    def meanwhile(number: int) -> None:
        for each in (other, dtype) if number % 2 else (dtype, other):
            model = stage.build(each, seed=number)
            _used(stage, model, each)
            stage.backend.loss_and_grads(model, images(3, each), batch(3, each).y, train=True)
            stage.backend.learner(model, recipe(each))
        _used(stage, own, dtype)
        stage.backend.loss_and_grads(own, images(3, dtype), batch(3, dtype).y, train=True)
        learner.evaluate(batch(4, dtype).x)
        _stepped(*rivals[number % 2])

    stage.same(life(learner, dtype, meanwhile), wanted, "three steps among other models and learners")
    learner.restore(start(dtype))
    _stepped(*rivals[0])
    stage.same(learner.state(), stage.started(dtype), "state() after another learner's step")
    stage.same(life(learner, dtype), wanted, "three steps after another learner's")


def _stepped(learner: Any, dtype: str) -> None:
    x, y, _ = batch(5, dtype)
    float(learner.step(x, y, 3 * LR))
    learner.evaluate(x)
    learner.restore(learner.state())


def threads(stage: Stage, dtype: str) -> None:
    """Judge models and learners that are made in one thread and used in another, and threads that take turns."""
    backend, x = stage.backend, images(0, dtype)
    learner = stage.learner(dtype)
    wanted = life(learner, dtype)
    logits = {"logits": np.array(backend.forward(stage.model(dtype), x))}
    learner.restore(start(dtype))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        losses = []
        for number, thread in zip(range(STEPS), cycle((one, other))):
            step_batch = batch(number, dtype)
            losses.append(thread.submit(learner.step, step_batch.x, step_batch.y, LR).result())
        got = {"losses": np.array([float(loss) for loss in losses]), "logits": learner.evaluate(step_batch.x)}
        stage.same({**got, **other.submit(learner.state).result()}, wanted, "three steps of threads that take turns")
        model = one.submit(stage.build, dtype).result()
        stage.same({"logits": backend.forward(model, x)}, logits, "forward() of a model that another thread built")
        elsewhere = other.submit(backend.forward, model, x).result()
        stage.same({"logits": elsewhere}, logits, "forward() in another thread")
    if dtype == "float64":
        results = life(stage.learner(dtype, 1), dtype)
        stage.same(results, wanted, "three steps of a learner that another thread made")


@contextmanager
def _kept() -> Iterator[None]:
    """Restore the random generators of Python and NumPy afterwards, for other users of this process."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@_kept()
def generators(stage: Stage, dtype: str) -> None:
    """Judge whether a backend neither needs nor changes the random generators that a process shares."""
    backend, x, y = stage.backend, images(0, dtype), batch(0, dtype).y
    learner = stage.learner(dtype)
    wanted = life(learner, dtype)
    learner.restore(start(dtype))
    got = life(learner, dtype, _reseeded)
    stage.same(got, wanted, "three steps while others seed the generators of the process")
    learner.restore(start(dtype))
    model = stage.model(dtype)
    kept = {"logits": np.array(backend.forward(model, x, train=True))}
    _reseeded(1)
    stage.same({"logits": backend.forward(model, x, train=True)}, kept, "forward() after others seeded the generators")
    calls: dict[str, Callable[[], Any]] = {
        "build() and load()": lambda: stage.build(dtype),
        "facts()": backend.facts,
        "dump()": lambda: backend.dump(model),
        "forward()": lambda: backend.forward(model, x, train=True),
        "trace()": lambda: backend.trace(model, x, train=True),
        "loss_and_grads()": lambda: backend.loss_and_grads(model, x, y, train=True),
        "learner()": lambda: backend.learner(stage.build(dtype), recipe(dtype)),
        "a learner's steps": lambda: life(learner, dtype),
        "restore()": lambda: learner.restore(start(dtype)),
    }
    for name, call in calls.items():
        _unmoved(call, name)


def _shared() -> dict[str, Any]:
    return {
        "how NumPy handles floating-point errors": np.geterr(),
        "which warnings are shown": list(warnings.filters),
        "the working directory": Path.cwd(),
        "the environment variables": dict(os.environ),
    }


def _reseeded(number: int) -> None:
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - the generator that others share
    for framework, seed in _SEEDS.items():
        function: Any = sys.modules.get(framework)
        for name in seed.split(".") if function else ():
            function = getattr(function, name)
        if function:
            function(number)


def _unmoved(call: Callable[[], Any], name: str) -> None:
    """Raise ``BrokenError`` if ``call`` draws from, or seeds, Python's or NumPy's shared generator, or changes anything
    else that all of a process share: how NumPy handles floating-point errors, which warnings are shown, the folder.
    """
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    with np.errstate(under="warn", divide="warn"), warnings.catch_warnings():
        warnings.filterwarnings("default", "a text that no warning has")
        before = _shared()
        call()
        changed = [what for what, was in before.items() if _shared()[what] != was]
    numbers = random.random(), np.random.random_sample()  # noqa: NPY002, S311
    if changed:
        raise BrokenError(f"{name} changes {changed[0]}")
    if numbers != (random.Random(5).random(), np.random.RandomState(5).random_sample()):  # noqa: S311
        raise BrokenError(f"{name} moves the random generator of Python or of NumPy")
