"""States that are a learner's, and those that are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from vgg import Head, Spec, VGGError, init
from vgg.backends import VELOCITY, check_state
from vgg.process.wire import Arrays

SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,)), batch_norm=True)
CHANGES: dict[str, Callable[[Arrays], object]] = {
    "step": lambda s: s.pop("step"),
    "fc1.bias": lambda s: s.pop("fc1.bias"),
    "fc2.weight": lambda s: s.pop(f"{VELOCITY}fc2.weight"),
    "fc2.bias": lambda s: s.update({f"{VELOCITY}fc2.bias": np.zeros(1)}),
    "fc3.bias": lambda s: s.update({"fc3.bias": np.zeros(5)}),
    "fc4.bias": lambda s: s.update({f"{VELOCITY}fc4.bias": np.zeros(5)}),
}
"""What the refusal must name, and what is done to a state."""


def state() -> Arrays:
    params = init(SPEC)
    velocity = {VELOCITY + n: np.zeros_like(a) for n, a in params.items() if "running_" not in n}
    return {**params, **velocity, "step": np.array(3)}


def test_a_learners_state_is_accepted_in_any_order() -> None:
    check_state(dict(reversed(state().items())), SPEC)


@pytest.mark.parametrize("name", CHANGES)
def test_any_other_is_refused_by_name(name: str) -> None:
    spoilt = state()
    CHANGES[name](spoilt)
    with pytest.raises(VGGError, match=f"state.*{re.escape(name)}"):
        check_state(spoilt, SPEC)
