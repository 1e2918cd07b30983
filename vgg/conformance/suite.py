"""Every cell of the matrix by name: the check, then its case, dtype and mode."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from typing import Any, Protocol

from .. import registry
from ..client import Jobs
from ..compare import EXACT, Verdict
from ..errors import VGGError
from ..recipe import CHOICES
from ..spec import Spec
from . import checks, dropout, precisions, properties, trajectories
from .cases import CASES, DROPOUTS, LEARNERS, NARROW, RELAYED, STRUCTURES, TF32, TRAJECTORIES, Case

EXAMPLES = 10
"""Random specs a run, unless told otherwise."""
_DTYPES = ("float64", "float32")
_MODES = {"eval": False, "train": True}


class NotJudgedError(Exception):
    """Nothing can be said of the judged backend, for another one is at fault."""


class Bench(Protocol):
    """What a cell may use."""

    def worker(self) -> Jobs:
        """The backend that is judged."""
        ...

    def fresh(self) -> AbstractContextManager[Jobs]:
        """It once more, in a process of its own."""
        ...

    def source(self, name: str) -> Jobs:
        """Another backend."""
        ...


Judge = Callable[[Bench], Verdict]


def judged(cell: Judge, bench: Bench) -> Verdict:
    """The verdict of a cell; of one that cannot go on, as with a trace that lacks a row, the reason."""
    try:
        return cell(bench)
    except VGGError as error:
        return Verdict(math.inf, EXACT, "", str(error))
    except checks.AMISS as error:
        return Verdict(math.inf, EXACT, "", f"cannot be judged: {type(error).__name__}: {error}")


def cells(examples: int = EXAMPLES) -> dict[str, Judge]:
    """The whole suite."""
    return dict(_all(examples))


def given(spec: Spec) -> dict[str, Judge]:
    """The cells of a spec that a user brings."""
    return dict(_numbers("given " + re.sub(r"\W+", "_", spec.name), Case(spec, batch=2)))


def _all(examples: int) -> Iterator[tuple[str, Judge]]:
    for name, case in STRUCTURES.items():
        yield f"structure {name}", _on(checks.structure, case)
    for name, case in CASES.items():
        yield from _numbers(name, case)
    for name, dtype in product(("plain", "batch_norm", "global_pool"), _DTYPES):
        yield f"round_trip {name} {dtype}", _on(checks.round_trip, CASES[name], dtype)
    for (name, case), dtype in product(DROPOUTS.items(), _DTYPES):
        yield f"modes {name} {dtype}", _on(dropout.modes, case, dtype)
    yield from _learners()
    for name in registry.own_names():
        yield f"exchange {name}", _received(name, checks.written, checks.exchange, CASES["batch_norm"])
        yield f"relay {name}", _received(name, trajectories.half_way, trajectories.relay, RELAYED)
    yield "properties", lambda b: properties.properties(b.worker, examples)


def _learners() -> Iterator[tuple[str, Judge]]:
    for (name, case), dtype in product(TRAJECTORIES.items(), _DTYPES):
        yield f"trajectory {name} {dtype}", _on(trajectories.trajectory, case, dtype)
    for name, case in DROPOUTS.items():
        yield f"masking {name}", _on(dropout.masking, case)
    for name, case in LEARNERS.items():
        more = (0.0, case.spec.input_shape[1:]) if name == "global_pool" else (0.9,)
        yield f"learning {name}", _on(checks.learning, case, *more)
    for name in CHOICES["precision"]:
        yield f"precision {name}", _on(precisions.precision, TF32 if name == "tf32" else NARROW, name)
    for name in ("plain", "batch_norm"):
        yield f"repeatable {name}", _on(checks.repeatable, CASES[name])
    yield "resuming batch_norm", lambda b: checks.resuming(b.worker(), b.fresh, CASES["batch_norm"])


def _numbers(name: str, case: Case) -> Iterator[tuple[str, Judge]]:
    for check, dtype, (mode, train) in product((checks.forward, checks.backward), _DTYPES, _MODES.items()):
        yield f"{check.__name__} {name} {dtype} {mode}", _on(check, case, dtype, train)


def _on(check: Callable[..., Verdict], *arguments: object) -> Judge:
    return lambda bench: check(bench.worker(), *arguments)


def _received(
    name: str, handed: Callable[[Jobs, Case], Any], check: Callable[[Jobs, Any, Case], Verdict], case: Case
) -> Judge:
    """``check`` on what the backend ``name`` has ``handed`` over."""

    def judge(bench: Bench) -> Verdict:
        worker, source = bench.worker(), None
        try:
            source = bench.source(name)
            given = handed(source, case)
        except checks.AMISS as error:
            if source is worker:
                raise
            raise NotJudgedError(f"{name} had nothing sound to hand over: {error}") from error
        return check(worker, given, case)

    return judge
