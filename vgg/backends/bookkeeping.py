"""What the learners of all backends write down in the same way: state in and out, and resized pixels. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
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
"""What frameworks call a layer's parameters, and what they are called here; other names are the same."""


class State(NamedTuple):
    """A learner's state, taken apart: parameters, velocities under the parameters' names, and the number of steps."""

    params: Arrays
    velocity: Arrays
    steps: int


def state_of(params: Mapping[str, Array], velocity: Mapping[str, Array], steps: int) -> Arrays:
    """What ``Learner.state`` gives."""
    return {**params, **{VELOCITY + name: v for name, v in velocity.items()}, "step": np.array(steps)}


def taken_apart(state: Mapping[str, Array], spec: Spec) -> State:
    """What ``Learner.restore`` gets; ``VGGError`` unless it is the state of a learner of ``spec``."""
    check_state(state, spec)
    velocity = {name.removeprefix(VELOCITY): a for name, a in state.items() if name.startswith(VELOCITY)}
    params = {name: a for name, a in state.items() if name != "step" and not name.startswith(VELOCITY)}
    return State(params, velocity, int(state["step"]))


def resizing(sides: tuple[int, ...], spec: Spec) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The matrices ``down`` and ``across`` of ``down @ image @ across.T``, by which images of these sides (height,
    width) get those of ``spec``; None where they have them.
    """
    if tuple(sides) == spec.input_shape[1:]:
        return None
    down, across = (resize_matrix(*pair) for pair in zip(sides, spec.input_shape[1:], strict=True))
    return down, across


def near_channels(channels: int, size: int) -> NDArray[np.bool_]:
    """(channels, channels), True where two channels are in one window of ``size`` of local response normalisation."""
    return np.abs(np.subtract.outer(range(channels), range(channels))) <= size // 2


def with_order(array: Array, dtype: Any = None) -> Array:
    """A copy that is contiguous and in this machine's byte order, in ``dtype`` if one is given."""
    return np.array(array, dtype or array.dtype.newbyteorder("="), order="C")
