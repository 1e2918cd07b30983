"""Random valid specs against the oracle. One that fails is shrunk, and shown as a spec file that reproduces it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from .. import reference
from ..client import Jobs
from ..compare import Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..errors import VGGError
from ..layers import expand, totals
from ..spec import Block, Conv, Head, Pool, Spec
from .cases import Case


def properties(worker: Callable[[], Jobs], examples: int, seed: int | None = None) -> Verdict:
    """``examples`` random specs, the same in every run unless there is a ``seed``: activations, loss and gradients in
    float64, eval mode.

    ``worker`` is asked for anew each time, since a spec may kill one.
    """
    worst, failing, largest = Verdict(0.0, forward_limit(_SMALLEST, "float64")), None, _SMALLEST

    def agree(spec: Spec) -> None:
        nonlocal worst, failing, largest
        verdict = judged(worker(), spec)
        if not verdict.ok and (failing is None or _macs(spec) <= _macs(failing[1])):
            failing = verdict, spec
        assert verdict.ok
        worst = max(worst, verdict, key=lambda one: one.error)
        largest = max(largest, spec, key=_macs)

    try:
        drawn(agree, specs(), examples, seed)
    except Exception:
        if failing is None:
            raise
        return _reported(*failing)
    return Verdict(worst.error, worst.limit, f"{examples} specs, the largest {largest.to_json()}")


def drawn(
    test: Callable[[Any], None],
    strategy: st.SearchStrategy[Any],
    examples: int,
    seed: int | None,
    phases: Collection[Phase] = tuple(Phase),
) -> None:
    """Call ``test`` with ``examples`` values of ``strategy``, the same in every run unless there is a ``seed``."""
    quiet: dict[str, Any] = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
    test = given(strategy)(test)
    test = test if seed is None else seeded(seed)(test)
    settings(max_examples=examples, derandomize=seed is None, phases=phases, **quiet)(test)()


def judged(worker: Jobs, spec: Spec) -> Verdict:
    """One spec: every activation, then the loss and every gradient."""
    case = Case(spec, batch=2)
    params, x, y = case.params("float64"), case.images("float64"), case.labels()
    loss, grads, tape = reference.loss_and_grads(spec, params, x, y)
    try:
        worker.build(spec, params, dtype="float64")
        traced = worker.trace(x)
        got_loss, got = worker.loss_and_grads(x, y)
    except VGGError as error:
        return Verdict(math.inf, forward_limit(spec, "float64"), "", str(error))
    forward = compare(traced, tape.activations, limit=forward_limit(spec, "float64"), dtype="float64")
    found, wanted = {"loss": np.array(got_loss), **got}, {"loss": np.array(loss), **grads}
    limit = gradient_limit(spec, "float64", case.batch)
    backward = compare(found, wanted, limit=limit, dtype="float64", floors=gradient_floors(grads))
    return forward if not forward.ok else max(forward, backward, key=lambda one: one.error)


@st.composite
def specs(draw: Any) -> Spec:
    """Valid specs of up to three blocks and two hidden layers."""
    fields = {
        "blocks": draw(st.lists(_blocks(), min_size=1, max_size=3)),
        "input_shape": (draw(st.integers(1, 3)), draw(st.integers(5, 40)), draw(st.integers(5, 40))),
        "classes": draw(st.integers(2, 6)),
        "head": Head(tuple(draw(st.lists(_widths, max_size=2))), 0.0, draw(st.booleans())),
        "batch_norm": draw(st.booleans()),
        "name": "random",
    }
    try:
        return Spec(**fields)
    except VGGError:  # the input does not survive its pools
        assume(condition=False)
        raise


@st.composite
def _blocks(draw: Any) -> Block:
    convs = draw(st.lists(_convs(), min_size=1, max_size=2))
    kernel = draw(st.integers(1, 3))
    return Block(tuple(convs), draw(st.none() | st.builds(Pool, st.just(kernel), st.integers(1, kernel))))


@st.composite
def _convs(draw: Any) -> Conv:
    kernel = draw(st.integers(1, 5))
    return Conv(draw(_widths), kernel, draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2)), draw(st.booleans()))


_widths = st.integers(1, 9)
_SMALLEST = Spec((Block((Conv(1),)),), input_shape=(1, 2, 2), classes=2, head=Head(()))


def _macs(spec: Spec) -> int:
    return totals(expand(spec)).macs


def _reported(verdict: Verdict, spec: Spec) -> Verdict:
    text = f"{verdict.reason}\nthe smallest spec seen to show it; save it as failing.toml:\n\n{spec.to_toml()}"
    return Verdict(verdict.error, verdict.limit, verdict.where, text)
