"""Runs in a framework's environment: what a backend answers to images of every dtype, without a worker around it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from vgg import Head, Recipe, Spec, VGGError

SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,), dropout=0.0))
PIXELS = np.random.RandomState(0).randint(0, 256, (3, 2, 6, 9)).astype(np.uint8)
LABELS = np.array([4, 0, 2])
DTYPES = ("uint8", "float32", "float64", "float16", "longdouble", "int8", "int64", "bool", "complex64", "object", ">f4")


def main(module: str) -> dict[str, dict[str, Any]]:
    """Return the answer, as a list or as the text of a ``VGGError``, by function and dtype."""
    backend = importlib.import_module(module)
    recipe = Recipe(mean=0.3, std=0.4)
    model, learner = backend.build(SPEC), backend.learner(backend.build(SPEC), recipe)
    calls: dict[str, Callable[[Any], Any]] = {
        "forward": lambda x: backend.forward(model, x),
        "trace": lambda x: list(backend.trace(model, x).values())[-1],
        "loss_and_grads": lambda x: backend.loss_and_grads(model, x, LABELS)[0],
        "evaluate": learner.evaluate,
        "step": lambda x: float(learner.step(x, LABELS, 0.0)),
    }
    answers = {name: {dtype: answer(call, PIXELS.astype(dtype)) for dtype in DTYPES} for name, call in calls.items()}
    scaled = (PIXELS / 255 - recipe.mean) / recipe.std
    for name, call in calls.items():
        answers[name] |= {"list": answer(call, PIXELS.tolist()), "scaled": answer(call, scaled.astype(np.float32))}
    return answers


def answer(call: Callable[[Any], Any], x: Any) -> Any:
    """Return what the call returns, as a list, or the text of its refusal."""
    try:
        return np.asarray(call(x)).tolist()
    except VGGError as error:
        return str(error)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
