"""Code that the learners of all backends share: conversion of states, and resizing. It needs only NumPy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.resize import resize_matrix
from ..core.spec import Spec
from . import VELOCITY, Array, Arrays, check_state

SLOTS = {
    **dict.fromkeys(("kernel", "gamma", "scale"), "weight"),
    "beta": "bias",
    **dict.fromkeys(("mean", "moving_mean"), "running_mean"),
    **dict.fromkeys(("var", "moving_variance"), "running_var"),
}
"""A framework's name for a parameter or statistic of a layer -> its name here, where the two differ."""


class State(NamedTuple):
    """The parts of a learner's state: parameters, velocities by parameter name, and the number of steps."""

    params: Arrays
    velocity: Arrays
    steps: int


def state_of(params: Mapping[str, Array], velocity: Mapping[str, Array], steps: int) -> Arrays:
    """Return the result of ``Learner.state``: parameters, ``velocity/`` + name, and ``step``."""
    return {**params, **{VELOCITY + name: v for name, v in velocity.items()}, "step": np.array(steps)}


def taken_apart(state: Mapping[str, Array], spec: Spec) -> State:
    """Split the argument of ``Learner.restore``. Raises ``VGGError`` unless it is a state of a learner of ``spec``."""
    check_state(state, spec)
    velocity = {name.removeprefix(VELOCITY): a for name, a in state.items() if name.startswith(VELOCITY)}
    params = {name: a for name, a in state.items() if name != "step" and not name.startswith(VELOCITY)}
    return State(params, velocity, int(state["step"]))


def resizing(sides: tuple[int, ...], spec: Spec) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the matrices (down, across) that resize images with the sides (height, width) to those of ``spec``.

    ``down @ image @ across.T`` is the resized image. Returns None when the images have the right sides already.
    """
    if tuple(sides) == spec.input_shape[1:]:
        return None
    down, across = (resize_matrix(*pair) for pair in zip(sides, spec.input_shape[1:], strict=True))
    return down, across


def executed(source: str) -> dict[str, Any]:
    """Execute a script that ``vgg code`` printed, as an import would, and return its names."""
    module = ModuleType("vgg_script")
    sys.modules[module.__name__] = module  # where dataclasses, which Flax' modules are, look for it
    exec(compile(source, "<vgg code>", "exec"), module.__dict__)  # noqa: S102 - it is what the suite judges
    return module.__dict__
