"""States that are a learner's, and those that are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from vgg import Head, Spec, VGGError, init
from vgg.backends import VELOCITY, check_state
from vgg.wire import Arrays

SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,)), batch_norm=True)
CHANGES: dict[str, tuple[str, Callable[[Arrays], object]]] = {
    "state: step: got nothing, wanted the number of steps taken": ("no step", lambda s: s.pop("step")),
    "state: fc1.bias: got nothing, wanted an array of shape (7,)": ("no parameter", lambda s: s.pop("fc1.bias")),
    "state, velocity: fc1.bias: got nothing, wanted an array of shape (7,)": (
        "no velocity",
        lambda s: s.pop(f"{VELOCITY}fc1.bias"),
    ),
    "state, velocity: fc2.bias: got (1,), wanted (5,)": (
        "one number",
        lambda s: s.update({f"{VELOCITY}fc2.bias": np.zeros(1)}),
    ),
    "unknown parameter in state 'fc3.bias'": ("one more", lambda s: s.update({"fc3.bias": np.zeros(5)})),
    "unknown parameter in state, velocity 'fc3.bias'": (
        "one more velocity",
        lambda s: s.update({f"{VELOCITY}fc3.bias": np.zeros(5)}),
    ),
}


def state() -> Arrays:
    params = init(SPEC)
    velocity = {VELOCITY + n: np.zeros_like(a) for n, a in params.items() if "running_" not in n}
    return {**params, **velocity, "step": np.array(3)}


def test_a_learners_state_is_accepted_in_any_order() -> None:
    check_state(dict(reversed(state().items())), SPEC)


@pytest.mark.parametrize("reason", CHANGES, ids=[words for words, _ in CHANGES.values()])
def test_any_other_is_refused(reason: str) -> None:
    spoilt = state()
    CHANGES[reason][1](spoilt)
    with pytest.raises(VGGError, match=f"^{re.escape(reason)}"):
        check_state(spoilt, SPEC)
