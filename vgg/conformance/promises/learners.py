"""Promises about a learner: who owns its arrays, when it has read a batch, and that mistakes change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from .arrays import LAYOUTS, Array, Arrays, aligned, copied, ruin
from .models import called, each_alone, misfits, refused, tried, wrong_images, wrong_labels, wrong_layouts
from .stage import LR, STEPS, Stage, batch, images, life, params, start


def state(stage: Stage, dtype: str) -> None:
    """Judge whether ``state`` returns copies: they do not change, and overwriting them does not change the learner."""
    wanted = life(stage.learner(dtype), dtype)
    model, learner = stage.pair(dtype)
    stage.owned(learner.state, "state()")
    held = learner.state()
    stage.same(held, stage.started(dtype), "state() after restore()")
    stage.same(life(learner, dtype), wanted, "three steps after what state() gave was overwritten")
    stage.owned(learner.state, "state() after three steps")
    stage.owned(lambda: stage.backend.dump(model), "dump() of a learner's model after three steps")
    stage.same(held, stage.started(dtype), "what state() gave, three steps later")


def restore(stage: Stage, dtype: str) -> None:
    """Judge whether ``restore`` copies its arrays, from any memory layout, and keeps no reference to them."""
    wanted = life(stage.learner(dtype), dtype)
    for layout, lay in LAYOUTS.items():
        learner = stage.learner(dtype)
        learner.restore(start(dtype, seed=1))
        arrays = {name: lay(array) for name, array in start(dtype).items()}
        if tried(partial(_restored, learner, MappingProxyType(arrays)), layout) is None:
            continue
        kept = {name: lay(array) for name, array in start(dtype).items()}
        stage.same(arrays, kept, f"arrays {layout}, after restore()")
        for array in arrays.values():
            ruin(array)
        stage.same(learner.state(), stage.started(dtype), f"state() after restore() of arrays {layout}")
        stage.near(life(learner, dtype), wanted, f"three steps after restore() of arrays {layout}, since overwritten")
    held = start(dtype)
    learner.restore(held)
    life(learner, dtype)
    stage.same(held, start(dtype), "what restore() took, three steps later")


def _restored(learner: Any, arrays: Mapping[str, Array]) -> Any:
    learner.restore(arrays)
    return learner


def evaluate(stage: Stage, dtype: str) -> None:
    """Judge ``evaluate``: it reads its images before it returns, does not change them, and returns an array of its own.

    An image's logits depend on that image alone.
    """
    learner = stage.learner(dtype)

    def call(arguments: Mapping[str, Array]) -> Arrays:
        return {"logits": learner.evaluate(arguments["x"])}

    called(stage, call, dtype, "evaluate()", lambda number, dtype: {"x": batch(number, dtype).x})
    stage.same(learner.state(), stage.started(dtype), "state() after evaluate()")
    each_alone(stage, learner.evaluate, *(batch(number, dtype).x for number in range(2)))
    logits = learner.evaluate(batch(0, dtype).x)
    kept = logits.copy()
    life(learner, dtype)
    stage.same({"logits": logits}, {"logits": kept}, "what evaluate() gave, three steps later")


def step(stage: Stage, dtype: str) -> None:
    """Judge ``step``: it has read its batch when it returns, and does not change it; a loss does not change later."""
    batches = [batch(number, dtype) for number in range(STEPS)]
    learner = stage.learner(dtype)
    losses = [learner.step(x, y, LR, masks) for x, y, masks in batches]
    wanted = {"losses": np.array([float(loss) for loss in losses]), **learner.state()}
    learner = stage.learner(dtype)
    at_once = np.array([float(learner.step(x, y, LR, masks)) for x, y, masks in batches])
    stage.same({"losses": wanted["losses"]}, {"losses": at_once}, "losses that are read after three steps")
    for number, (x, y, masks) in enumerate(batches):
        stage.same({"x": x, "y": y, **masks}, _flat(number, dtype), "a batch, after step()")
    for _ in range(STEPS):
        stage.same(_reusing(stage.learner(dtype), dtype), wanted, "steps on arrays that are overwritten after each")
    for layout, lay in LAYOUTS.items():
        x, y, masks = batches[0]
        laid = MappingProxyType({name: lay(mask) for name, mask in masks.items()})
        loss = tried(partial(stage.learner(dtype).step, lay(x), lay(y), LR, laid), layout)
        if loss is not None:
            got = {"losses": np.array([float(loss)])}
            stage.near(got, {"losses": wanted["losses"][:1]}, f"step() on arrays {layout}")


def _flat(number: int, dtype: str) -> Arrays:
    x, y, masks = batch(number, dtype)
    return {"x": x, "y": y, **masks}


def _reusing(learner: Any, dtype: str) -> Arrays:
    """Return the results of three steps on the same arrays, which are overwritten as soon as ``step`` has returned."""
    buffers = {name: aligned(array, 64) for name, array in _flat(0, dtype).items()}
    losses = []
    for number in range(STEPS):
        for name, array in _flat(number, dtype).items():
            buffers[name][...] = array
        masks = {name: mask for name, mask in buffers.items() if name not in ("x", "y")}
        losses.append(learner.step(buffers["x"], buffers["y"], LR, masks))
        masks.clear()
        for array in buffers.values():
            ruin(array)
    return {"losses": np.array([float(loss) for loss in losses]), **learner.state()}


def model(stage: Stage, dtype: str) -> None:
    """Judge whether ``dump`` and the model's other functions use the parameters that its learner has at that time."""
    model, learner = stage.pair(dtype)
    for when in ("before a step", "three steps later", "after restore()"):
        now = {name: array for name, array in learner.state().items() if name in params(dtype)}
        other = stage.backend.load(stage.model(dtype), now)
        dumped = copied(stage.backend.dump(other))
        stage.same(stage.backend.dump(model), dumped, f"dump() of a learner's model {when}")
        got, wanted = (_shown(stage.backend, each, dtype) for each in (model, other))
        stage.near(got, wanted, f"forward() and trace() of a learner's model {when}")
        if when == "before a step":
            life(learner, dtype)
        else:
            learner.restore(start(dtype, seed=1))


def _shown(backend: Any, model: Any, dtype: str) -> Arrays:
    x = images(9, dtype)
    traced = {f"trace() {name}": array for name, array in backend.trace(model, x, train=True).items()}
    return {"logits": backend.forward(model, x), **traced}


def mistakes(stage: Stage, dtype: str) -> None:
    """Judge whether states and batches that do not fit are refused, and the learner goes on unchanged."""
    wanted = life(stage.learner(dtype), dtype)
    learner, (x, y, masks) = stage.learner(dtype), batch(0, dtype)
    floats = images(0, dtype)
    states = misfits(start(dtype, seed=1))
    states["a state without step"] = {n: a for n, a in start(dtype, seed=1).items() if n != "step"}
    attempts = {f"restore() of {what}": partial(learner.restore, wrong) for what, wrong in states.items()}
    for what, labels in wrong_labels(y).items():
        attempts[f"step() with {what}"] = partial(learner.step, x, labels, LR, masks)
    pixels = {f"{what}, uint8": wrong for what, wrong in wrong_layouts(batch(0, "float32").x).items()}
    for what, wrong in {**wrong_images(floats), **pixels}.items():
        attempts[f"step() on {what}"] = partial(learner.step, wrong, y, LR, masks)
        attempts[f"evaluate() of {what}"] = partial(learner.evaluate, wrong)
    attempts["step() on images that are int64"] = partial(learner.step, floats.astype(np.int64), y, LR, masks)
    for what, attempt in attempts.items():
        refused({what: attempt})
        stage.same(learner.state(), stage.started(dtype), f"state() after {what} was refused")
    stage.same(life(learner, dtype), wanted, "three steps after refusals")
