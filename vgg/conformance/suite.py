"""Every cell of the matrix by name. A name is the check, then its case, dtype and mode."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

from ..core.comparator import EXACT, Verdict
from ..core.errors import VGGError
from ..core.recipe import CHOICES, Recipe
from ..core.spec import Spec
from ..process import registry
from ..process.client import Jobs
from . import (
    checks,
    claims,
    dropout,
    extremes,
    lives,
    masking,
    pixels,
    poisons,
    precisions,
    properties,
    refusals,
    sizes,
    sources,
    steps,
    switches,
    trajectories,
)
from .cases import CASES, FULL, LEARNERS, NARROW, RELAYED, SHARP, STRUCTURES, TF32, TRAJECTORIES, WIDE, Case
from .cell import Bench, Cell, Judge, NotJudgedError, on
from .promises import cells as promises

EXAMPLES = 10
"""The default number of random specs per run."""
THOROUGH = 10
"""The factor by which ``--thorough`` raises the number of random specs."""
_DTYPES = ("float64", "float32")
_MODES = {"eval": False, "train": True}
Checked = Mapping[Callable[..., Verdict], str]
"""Checks of a case, each with the level that a backend must claim."""
_NUMBERS: Checked = {checks.forward: "inference", checks.backward: "gradients"}
_NUMBERS_OF_REAL_NETS: Checked = {checks.forward: "inference", switches.switches: "gradients"}
"""The same for nets that may be as large as real ones, in float32."""


def judged(cell: Judge, bench: Bench) -> Verdict:
    """Return the verdict of a cell. One that cannot go on, as when a trace lacks a row, fails with the reason."""
    try:
        return cell(bench)
    except VGGError as error:
        return Verdict(math.inf, EXACT, "", str(error))
    except checks.AMISS as error:
        return Verdict(math.inf, EXACT, "", f"cannot be judged: {type(error).__name__}: {error}")


def cells(examples: int = EXAMPLES, *, thorough: bool = False, seed: int | None = None) -> dict[str, Cell]:
    """Return the whole suite.

    ``thorough`` adds the cells that take longer. ``seed`` is the seed of random specs and lives; without it they are
    the same in every run of an installation.
    """
    return {name: cell for name, cell in _all(examples, seed) if thorough or not cell.thorough}


def given(spec: Spec) -> dict[str, Cell]:
    """Return the cells for a spec that a user supplies, which may be as large as real nets."""
    name, case = "given " + re.sub(r"\W+", "_", spec.name), Case(spec, batch=2)
    exact, narrow = _numbers(name, case, ("float64",)), _numbers(name, case, ("float32",), _NUMBERS_OF_REAL_NETS)
    code = ((f"code {name} {dtype}", Cell(judge, "inference", (dtype,))) for dtype, judge in sources.given(spec))
    return dict(exact) | dict(narrow) | dict(code)


def _all(examples: int, seed: int | None) -> Iterator[tuple[str, Cell]]:
    yield from claims.cells()
    for name, case in STRUCTURES.items():
        yield f"structure {name}", Cell(on(checks.structure, case), "inference", ())
    for name, case in CASES.items():
        yield from _numbers(name, case)
    for name, case in SHARP.items():
        yield f"backward {name} float64 eval", Cell(on(checks.backward, case, "float64", False), "gradients")
    for name, dtype in product(("plain", "batch_norm", "global_pool"), _DTYPES):
        yield f"round_trip {name} {dtype}", Cell(on(checks.round_trip, CASES[name], dtype), "inference", (dtype,))
    yield from dropout.cells()
    yield from _learners()
    yield from masking.cells()
    yield from steps.cells()
    yield from pixels.cells()
    yield from refusals.cells()
    yield from extremes.cells()
    yield from poisons.cells()
    for name in registry.own_names():
        for dtype in _DTYPES:
            export, check = partial(checks.written, dtype=dtype), partial(checks.exchange, dtype=dtype)
            exchanged = _received(name, export, check, CASES["batch_norm"])
            yield f"exchange {name} {dtype}", Cell(exchanged, "inference", (dtype,))
        relayed = _received(name, trajectories.half_way, trajectories.relay, RELAYED)
        yield f"relay {name}", Cell(relayed, "training")
    yield from promises.cells()
    yield from sizes.cells()
    yield from lives.cells(seed=seed)
    yield from sources.cells(seed)
    for dtype in _DTYPES:
        yield f"properties {dtype}", Cell(_properties(examples, dtype, seed), "inference", (dtype,))
        more = _properties(THOROUGH * examples, dtype, seed)
        yield f"properties thorough {dtype}", Cell(more, "inference", (dtype,), thorough=True)


def _properties(examples: int, dtype: str, seed: int | None) -> Judge:
    return lambda bench: properties.properties(bench.worker, examples, dtype, seed)


def _learners() -> Iterator[tuple[str, Cell]]:
    for (name, case), dtype in product(TRAJECTORIES.items(), _DTYPES):
        yield f"trajectory {name} {dtype}", Cell(on(trajectories.trajectory, case, dtype), "training", (dtype,))
    for name, case in LEARNERS.items():
        more = (0.0, case.spec.input_shape[1:]) if name == "global_pool" else (0.9,)
        yield f"learning {name}", Cell(on(checks.learning, case, *more), "training", ("float32",))
    yield "learning float64", Cell(on(checks.learning, LEARNERS["plain"], 0.9, (9, 70), "float64"), "training")
    for name in CHOICES["precision"]:
        case = TF32 if name == "tf32" else NARROW
        yield (
            f"precision {name}",
            Cell(on(precisions.precision, case, name), "training", (Recipe(precision=name).dtype,)),
        )
    for name in ("plain", "batch_norm"):
        yield f"repeatable {name}", Cell(on(checks.repeatable, CASES[name]), "training", ())
    resumed = CASES["batch_norm"]
    yield (
        "resuming batch_norm",
        Cell(lambda b: checks.resuming(b.worker(), b.fresh, resumed), "training", ()),
    )
    yield from _same_bits("wide", WIDE, thorough=False)
    yield from _same_bits("full", FULL, thorough=True)


def _same_bits(name: str, case: Case, *, thorough: bool) -> Iterator[tuple[str, Cell]]:
    fields: dict[str, Any] = {"level": "training", "dtypes": (), "thorough": thorough}
    yield f"repeatable {name}", Cell(on(checks.steady, case), **fields)
    yield f"resuming {name}", Cell(lambda b: checks.resumable(b.worker(), b.fresh, case), **fields)


def _numbers(
    name: str, case: Case, dtypes: tuple[str, ...] = _DTYPES, checked: Checked = _NUMBERS
) -> Iterator[tuple[str, Cell]]:
    for (check, level), dtype, (mode, train) in product(checked.items(), dtypes, _MODES.items()):
        needed = "gradients" if train else level
        yield f"{check.__name__} {name} {dtype} {mode}", Cell(on(check, case, dtype, train), needed, (dtype,))


def _received(
    name: str, export: Callable[[Jobs, Case], Any], check: Callable[[Jobs, Any, Case], Verdict], case: Case
) -> Judge:
    """Return a judge that calls ``check`` with what ``export`` gets from the backend ``name``."""

    def judge(bench: Bench) -> Verdict:
        worker, source = bench.worker(), None
        try:
            source = bench.source(name)
            exported = export(source, case)
        except checks.AMISS as error:
            if source is worker:
                raise
            reason = str(error).removeprefix(f"{name}: ")
            raise NotJudgedError(f"{name} had nothing sound to hand over: {reason}") from error
        return check(worker, exported, case)

    return judge
