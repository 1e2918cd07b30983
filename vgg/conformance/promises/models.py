"""Promises about a model's functions: who owns its arrays, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from .arrays import LAYOUTS, REFUSABLE, Array, Arrays, aligned, copied, ruin
from .stage import CASE, BrokenError, Stage, batch, images, params

Call = Callable[[Mapping[str, Array]], Arrays]
OTHER = {"float64": "float32", "float32": "float64"}
"""Each dtype of a model -> the other in which numbers may come."""


def dump(stage: Stage, dtype: str) -> None:
    """Judge whether ``dump`` returns copies: they do not change, and overwriting them does not change the model."""
    backend, model = stage.backend, stage.model(dtype)
    x = images(0, dtype)
    logits = {"logits": np.array(backend.forward(model, x))}
    stage.owned(lambda: backend.dump(model), "dump()")
    stage.same({"logits": backend.forward(model, x)}, logits, "forward() after what dump() gave was overwritten")
    held = backend.dump(model)
    model = backend.load(model, params(dtype, seed=1))
    stage.same(held, stage.dumped(dtype), "what dump() gave, after other parameters were loaded")


def load(stage: Stage, dtype: str) -> None:
    """Judge whether ``load`` copies its arrays, from any memory layout, and keeps no reference to them."""
    backend, x = stage.backend, images(0, dtype)
    model = stage.model(dtype)
    logits = {"logits": np.array(backend.forward(model, x))}
    for layout, lay in LAYOUTS.items():
        backend.load(model, params(dtype, seed=1))
        arrays = {name: lay(array) for name, array in params(dtype).items()}
        loaded = tried(partial(backend.load, model, MappingProxyType(arrays)), layout)
        if loaded is None:
            continue
        model = loaded
        stage.same(arrays, {n: lay(a) for n, a in params(dtype).items()}, f"arrays {layout}, after load()")
        for array in arrays.values():
            ruin(array)
        stage.same(backend.dump(model), stage.dumped(dtype), f"dump() after load() of arrays {layout}")
        stage.near({"logits": backend.forward(model, x)}, logits, f"forward() after load() of arrays {layout}")
    _reloaded(stage, model, dtype)
    _converted(stage, model, dtype)


def _reloaded(stage: Stage, model: Any, dtype: str) -> None:
    """Judge whether loading the same arrays again with other numbers takes effect."""
    buffers = {name: aligned(array, 64) for name, array in params(dtype).items()}
    model = stage.backend.load(model, buffers)
    for name, array in params(dtype, seed=1).items():
        buffers[name][...] = array
    stage.same(stage.backend.dump(model), stage.dumped(dtype), "dump() after load(), whose arrays have changed")
    model = stage.backend.load(model, buffers)
    stage.same(stage.backend.dump(model), stage.dumped(dtype, seed=1), "dump() after load() of the same arrays again")


def _converted(stage: Stage, model: Any, dtype: str) -> None:
    """Judge whether numbers of another dtype are rounded to the model's."""
    other = OTHER[dtype]
    arrays = {name: aligned(array, 64) for name, array in params(other).items()}
    model = stage.backend.load(model, {name: array.astype(dtype) for name, array in arrays.items()})
    wanted = copied(stage.backend.dump(model))
    model = stage.backend.load(stage.backend.load(model, params(dtype, seed=1)), arrays)
    for array in arrays.values():
        ruin(array)
    stage.same(stage.backend.dump(model), wanted, f"dump() after load() of {other}")


def forward(stage: Stage, dtype: str) -> None:
    """Judge ``forward``: it reads its images before it returns, does not change them, and returns an array of its own.

    An image's logits depend on that image alone, not on the rest of the batch or on earlier calls.
    """
    _asked(stage, dtype, "forward()", _forward)
    each_alone(stage, partial(stage.backend.forward, stage.model(dtype)), *(images(i, dtype) for i in range(2)))


def each_alone(stage: Stage, logits: Callable[[Array], Array], one: Array, other: Array) -> None:
    """Judge ``logits``, in eval mode, on batches with the same sum or first image as the batch right before them."""
    batches = one, np.ascontiguousarray(one[::-1]), one, np.concatenate([one[:1], other[1:]]), other
    rows, turned, again, mixed, others = (np.array(logits(x)) for x in batches)
    stage.near({"logits": turned[::-1]}, {"logits": rows}, "logits of images in reverse order")
    stage.near({"logits": again}, {"logits": rows}, "logits of the same images as before")
    wanted = np.concatenate([rows[:1], others[1:]])
    stage.near({"logits": mixed}, {"logits": wanted}, "logits of other images after the same first one")


def trace(stage: Stage, dtype: str) -> None:
    """Judge ``trace`` in the same way, except for images alone."""
    _asked(stage, dtype, "trace()", _trace)


def loss_and_grads(stage: Stage, dtype: str) -> None:
    """Judge ``loss_and_grads`` in the same way, with its images and labels, except for images alone."""
    _asked(stage, dtype, "loss_and_grads()", _loss_and_grads)


def _asked(stage: Stage, dtype: str, what: str, ask: Callable[..., Arrays]) -> None:
    """Judge the call ``what`` in each mode, and the model after it."""
    for train in stage.modes if dtype == "float64" or ask is _forward else stage.modes[-1:]:
        model = stage.model(dtype)
        called(stage, partial(ask, stage.backend, model, train), dtype, what)
        stage.same(stage.backend.dump(model), stage.dumped(dtype), f"dump() after {what}")
    _asked_again(stage, dtype, what, partial(ask, stage.backend))


def _asked_again(stage: Stage, dtype: str, what: str, ask: Callable[..., Arrays]) -> None:
    """Judge the call ``what`` in eval mode on images of the other float type, and on old images after another load."""
    one, other = _labelled(0, dtype), OTHER[dtype]
    model, odd = stage.model(dtype), {**one, "x": one["x"].astype(other)}
    wanted = copied(ask(model, False, {**one, "x": odd["x"].astype(dtype)}))
    stage.near(copied(ask(model, False, odd)), wanted, f"{what} of {other} images, for the same numbers in {dtype}")
    ask(model, False, one)
    model = stage.backend.load(model, params(dtype, seed=1))
    again = copied(ask(model, False, one))
    turned = ask(model, False, {name: np.ascontiguousarray(array[::-1]) for name, array in one.items()})
    wanted = {name: array[::-1] if array.shape[:1] == (CASE.batch,) else array for name, array in turned.items()}
    stage.near(again, wanted, f"{what} of the same images, after other parameters were loaded")


def _forward(backend: Any, model: Any, train: bool, arguments: Mapping[str, Array]) -> Arrays:
    return {"logits": backend.forward(model, arguments["x"], train=train)}


def _trace(backend: Any, model: Any, train: bool, arguments: Mapping[str, Array]) -> Arrays:
    traced: Arrays = backend.trace(model, arguments["x"], train=train)
    return traced


def _loss_and_grads(backend: Any, model: Any, train: bool, arguments: Mapping[str, Array]) -> Arrays:
    loss, grads = backend.loss_and_grads(model, arguments["x"], arguments["y"], train=train)
    return {"loss": np.array(loss), **grads}


def _labelled(number: int, dtype: str) -> Arrays:
    return {"x": images(number, dtype), "y": batch(number, dtype).y}


def called(stage: Stage, call: Call, dtype: str, what: str, batches: Callable[[int, str], Arrays] = _labelled) -> None:
    """Judge ``call``, a function of images and labels: its results, and its arguments in every layout and reused."""
    one, two = batches(0, dtype), batches(1, dtype)
    wanted, others = copied(call(one)), copied(call(two))
    stage.owned(partial(call, one), what)
    for layout, lay in LAYOUTS.items():
        arguments = {name: lay(array) for name, array in one.items()}
        got = tried(partial(call, arguments), layout)
        if got is not None:
            stage.same(
                arguments, {name: lay(array) for name, array in one.items()}, f"arguments {layout}, after {what}"
            )
            stage.near(got, wanted, f"{what} of arrays {layout}")
    buffers = {name: aligned(array, 64) for name, array in one.items()}
    first = call(buffers)
    kept = copied(first)
    for name, array in two.items():
        buffers[name][...] = array
    stage.same(first, kept, f"{what}, after its arguments were overwritten")
    second = call(buffers)
    for array in buffers.values():
        ruin(array)
    stage.near(second, others, f"{what} of the same arrays with other numbers")
    stage.near(first, wanted, f"{what}, after another call")


def tried(call: Callable[[], Any], layout: str) -> Any:
    """Return the result of ``call``, or None if it refuses a layout that may be refused."""
    try:
        return call()
    except Exception:
        if layout == REFUSABLE:
            return None
        raise


def refusals(stage: Stage, dtype: str) -> None:
    """Judge whether parameters that do not fit and images of other sizes are refused, and the model stays unchanged."""
    backend, model = stage.backend, stage.model(dtype)
    x = images(0, dtype)
    logits = {"logits": np.array(backend.forward(model, x))}
    attempts = {
        f"load() of {what}": partial(backend.load, model, wrong)
        for what, wrong in misfits(params(dtype, seed=1)).items()
    }
    for what, image in wrong_images(x).items():
        attempts[f"forward() of {what}"] = partial(backend.forward, model, image, train=stage.modes[-1])
        attempts[f"trace() of {what}"] = partial(backend.trace, model, image, train=stage.modes[-1])
    for what, pixels in {"uint8": _pixels(x), "whole numbers": x.astype(np.int32)}.items():
        attempts[f"forward() of {what}"] = partial(backend.forward, model, pixels)
        attempts[f"trace() of {what}"] = partial(backend.trace, model, pixels)
    refused(attempts)
    stage.same(backend.dump(model), stage.dumped(dtype), "dump() after refusals")
    stage.same({"logits": backend.forward(model, x)}, logits, "forward() after refusals")


def labels(stage: Stage, dtype: str) -> None:
    """Judge whether labels that are no classes are refused, and the model stays unchanged."""
    model, x, y = stage.model(dtype), images(0, dtype), batch(0, dtype).y
    ask = stage.backend.loss_and_grads
    attempts = {
        f"loss_and_grads() with {what}": partial(ask, model, x, wrong, train=True)
        for what, wrong in wrong_labels(y).items()
    }
    attempts["loss_and_grads() of uint8"] = partial(ask, model, _pixels(x), y)
    refused(attempts)
    stage.same(stage.backend.dump(model), stage.dumped(dtype), "dump() after refusals")


def _pixels(x: Array) -> Array:
    return (255 * abs(x)).astype(np.uint8)


def refused(attempts: Mapping[str, Callable[[], Any]]) -> None:
    """Raise ``BrokenError`` at the first attempt that succeeds."""
    for what, attempt in attempts.items():
        try:
            attempt()
        except Exception:  # noqa: BLE001, S112 - a framework may refuse by any exception
            continue
        raise BrokenError(f"{what} was accepted; refuse it")


def misfits(arrays: Arrays) -> dict[str, Arrays]:
    """Return sets of arrays, the first or the last of which does not fit, in ways that easily go unnoticed."""
    names = [name for name, array in arrays.items() if array.ndim]
    wrong: dict[str, Arrays] = {"a name too many": {**arrays, "fc9.weight": np.ones((2, 2))}}
    for name in (names[0], names[-1]):
        array = arrays[name]
        wrong[f"nothing for {name}"] = {n: a for n, a in arrays.items() if n != name}
        wrong[f"one number for {name}"] = {**arrays, name: array.ravel()[:1]}
        wrong[f"a scalar for {name}"] = {**arrays, name: array.ravel()[0]}
        wrong[f"{name} without its last element"] = {**arrays, name: array[..., :-1]}
        wrong[f"{name} with one axis more"] = {**arrays, name: array[None]}
        wrong[f"another number of rows for {name}"] = {**arrays, name: np.concatenate([array, array[:1]])}
    return wrong | {"the axes of fc1.weight swapped": {**arrays, "fc1.weight": arrays["fc1.weight"].T}}


def wrong_images(x: Array) -> dict[str, Array]:
    """Return images that do not fit the network, by their description."""
    return wrong_layouts(x) | {"images of more rows": np.concatenate([x, x], axis=2)}


def wrong_layouts(x: Array) -> dict[str, Array]:
    """Return images that do not fit the network even if it can resize any height and width, by their description."""
    return {
        "images with a channel less": x[:, 1:],
        "images with a channel more": np.concatenate([x, x[:, :1]], axis=1),
        "images of one channel": x[:, :1],
        "images with channels last": np.moveaxis(x, 1, -1),
        "one image without a batch": x[0],
        "flat images": x.reshape(len(x), -1),
    }


def wrong_labels(y: Array) -> dict[str, Array]:
    """Return labels that do not fit the network, by their description; most are wrong only at the end of the batch."""
    others = {"the number of classes": CASE.spec.classes, "-1": -1, "200": 200, "2 to the 32nd": 2**32}
    return {f"the label {name}": np.append(y[:-1], other) for name, other in others.items()} | {
        "labels that are floats": y + 0.0,
        "labels that are booleans": y > 1,
        "one-hot labels": np.eye(CASE.spec.classes, dtype=np.int64)[y],
        "a label less than images": y[:-1],
        "a label more than images": np.append(y, y[:1]),
        "one label for all": y[:1],
        "labels in a column": y[:, None],
    }
