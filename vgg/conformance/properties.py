"""Judge random valid specs against the oracle. A failing one is shrunk, and shown as a spec file that reproduces it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from ..core import oracle
from ..core.blocks import Block, Conv, Head, Pool
from ..core.comparator import Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..core.errors import VGGError
from ..core.layers import expand, totals
from ..core.spec import Spec
from ..process.client import Jobs
from . import float32
from .cases import Arrays, Case
from .checks import differentiates, eval_mode, refused


class _DisagreementError(Exception):
    """A random spec on which the backend and the oracle differ."""


def properties(
    worker: Callable[[], Jobs],
    examples: int,
    dtype: str,
    seed: int | None = None,
    judge: Callable[[Spec], tuple[Verdict, bool]] | None = None,
) -> Verdict:
    """Judge ``examples`` random specs in eval mode: every activation, and if claimed the loss and every gradient.

    Without a ``seed`` the specs are the same in every run of an installation. ``worker`` is called for each spec,
    because a spec may kill its worker. ``judge`` stands for ``judged``, with the same result.
    """
    judge = judge or (lambda spec: judged(worker(), spec, dtype))
    worst, failing, largest = Verdict(0.0, forward_limit(_SMALLEST, dtype)), None, _SMALLEST
    count = Counter[bool]()

    def agree(spec: Spec) -> None:
        nonlocal worst, failing, largest
        verdict, whole = judge(spec)
        if not verdict.ok and (failing is None or _macs(spec) <= _macs(failing[1])):
            failing = verdict, spec
        if not verdict.ok:
            raise _DisagreementError  # python -O would remove an assertion
        count[whole] += 1
        worst = max(worst, verdict, key=lambda one: one.share)
        largest = max(largest, spec, key=_macs)

    try:
        drawn(agree, specs(), examples, seed)
    except Exception:
        if failing is None:
            raise
        return _reported(*failing)
    if not count:
        return refused("properties", "got no spec that was judged, wanted one at least")
    where = f"{count.total()} specs, {count[True]} with gradients, the largest {largest.to_json()}"
    return Verdict(worst.error, worst.limit, where)


def drawn(
    test: Callable[[Any], None],
    strategy: st.SearchStrategy[Any],
    examples: int,
    seed: int | None,
    phases: Collection[Phase] = (Phase.generate, Phase.shrink),  # a profile of the user may have fewer
) -> None:
    """Call ``test`` with ``examples`` values of ``strategy``.

    Without a ``seed`` they are the same in every run of an installation.
    """
    quiet: dict[str, Any] = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
    test = given(strategy)(test)
    test = test if seed is None else seeded(seed)(test)
    settings(max_examples=examples, derandomize=seed is None, phases=phases, **quiet)(test)()


def judged(worker: Jobs, spec: Spec, dtype: str, execute: Callable[[Case], None] | None = None) -> tuple[Verdict, bool]:
    """Judge one spec; return the verdict and whether gradients were judged.

    Every activation is judged; then the loss and every gradient, unless float32's rounding could make them jump.
    ``execute`` makes the model in place of the backend's ``build`` and ``load``; its trace may leave out layers
    without parameters.
    """
    case = Case(spec, batch=2)
    params, x, y = case.params(dtype), case.images(dtype), case.labels()
    try:
        mode = eval_mode(worker)
        if execute:
            execute(case)
        else:
            worker.build(spec, params, dtype=dtype)
        traced = worker.trace(x)
        differentiable = differentiates(worker)
        got_loss, got_grads = worker.loss_and_grads(x, y) if differentiable else (0.0, {})
    except VGGError as error:
        return Verdict(math.inf, forward_limit(spec, dtype), "", str(error)), False
    loss, grads, tape = oracle.loss_and_grads(spec, params, x, y, mode)
    narrow, limit = dtype == "float32", forward_limit(spec, dtype)
    floors = float32.floors(case, mode) if narrow else gradient_floors(grads)
    rows = shown(spec, traced, tape.activations) if execute else tape.activations
    forward = compare(traced, rows, limit=limit, dtype=dtype, floors=floors)
    if not forward.ok or not differentiable or (narrow and not float32.steady(case, tape, limit)):
        return forward, False
    differentiated, wanted = {"loss": np.array(got_loss, dtype), **got_grads}, {"loss": np.array(loss), **grads}
    limit = gradient_limit(spec, dtype, case.batch)
    backward = compare(differentiated, wanted, limit=limit, dtype=dtype, floors=floors)
    return backward if not backward.ok else max(forward, backward, key=lambda one: one.share), True


def shown(spec: Spec, traced: Arrays, activations: Arrays) -> Arrays:
    """Return the activations that a trace has, and those of layers with parameters, which it must have."""
    needed = {row.name for row in expand(spec) if row.parameters} | traced.keys()
    return {name: array for name, array in activations.items() if name in needed}


@st.composite
def specs(draw: Any) -> Spec:
    """Draw a valid spec of up to three blocks and three hidden layers."""
    fields = {
        "blocks": draw(st.lists(_blocks(), min_size=1, max_size=3)),
        "input_shape": (draw(st.integers(1, 5)), draw(st.integers(5, 40)), draw(st.integers(5, 40))),
        "classes": draw(st.integers(2, 12)),
        "head": Head(tuple(draw(st.lists(_widths, max_size=3))), 0.0, draw(st.booleans())),
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
    kernel = draw(st.integers(1, 5))
    return Block(tuple(convs), draw(st.none() | st.builds(Pool, st.just(kernel), st.integers(1, kernel + 1))))


@st.composite
def _convs(draw: Any) -> Conv:
    kernel = draw(st.sampled_from((3, 1, 2, 4, 5, 6, 7, 9)))
    return Conv(draw(_widths), kernel, draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2)), draw(st.booleans()))


_widths = st.integers(1, 9)
_SMALLEST = Spec((Block((Conv(1),)),), input_shape=(1, 2, 2), classes=2, head=Head(()))


def _macs(spec: Spec) -> int:
    return totals(expand(spec)).macs


def _reported(verdict: Verdict, spec: Spec) -> Verdict:
    text = f"{verdict.reason}\nthe smallest spec that was seen to fail; save it as failing.toml:\n\n{spec.to_toml()}"
    return Verdict(verdict.error, verdict.limit, verdict.where, text)
