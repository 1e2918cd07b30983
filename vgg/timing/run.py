"""Run ``vgg bench``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core import init, params
from ..core.errors import VGGError
from ..process import registry
from ..process.client import Listener
from . import parity, results, workloads
from .conditions import Conditions
from .contest import Terms, contest

Result = dict[str, Any]


def names() -> tuple[str, ...]:
    """Return the names of everything that can be timed."""
    return tuple(workloads.WORKLOADS)


def run(
    named: Sequence[str],
    chosen: Sequence[str],
    conditions: Conditions,
    listener: Listener,
    write: Callable[[Result], None],
) -> Result:
    """Time the workloads ``chosen`` from ``names()`` in the backends ``named``; call ``write`` with partial results."""
    result = {**conditions.about(), "workloads": {}}
    for key, (workload, batch) in _sized(chosen, conditions).items():
        column = result["workloads"][key] = {**workloads.about(workload, batch), "backends": {}}
        for name, outcome in _timed(workload, batch, named, conditions, listener):
            column["backends"][name] = outcome
            write({**result, "ok": results.ok(result)})
    result["ok"] = results.ok(result)
    write(result)
    return result


def planned(named: Sequence[str], chosen: Sequence[str], conditions: Conditions) -> Result:
    """Return the part of ``run``'s result that is known before anything is timed."""
    sized = _sized(chosen, conditions).items()
    planned_workloads = {key: {**workloads.about(*sizes), "backends": dict.fromkeys(named)} for key, sizes in sized}
    return {**conditions.about(), "workloads": planned_workloads}


def _sized(chosen: Sequence[str], conditions: Conditions) -> dict[str, tuple[workloads.Workload, int]]:
    """Return (workload, batch size) by key in a result: the name, with the batch size if there are several."""
    sized = {}
    for workload in (workloads.find(name) for name in chosen):
        batches = (conditions.batch_size,) if conditions.batch_size else workload.batches[conditions.device]
        for batch in batches:
            sized[f"{workload.name}-{batch}" if len(batches) > 1 else workload.name] = (workload, batch)
    return sized


def _timed(
    workload: workloads.Workload, batch: int, names: Sequence[str], conditions: Conditions, listener: Listener
) -> Iterator[tuple[str, Result]]:
    """Yield (backend, the result of ``contest``)."""
    listener.stage("oracle", workload.name)
    with agreed(workload, batch, conditions) as terms:
        for name in names:
            try:
                yield name, contest(registry.find(name), terms, conditions, listener)
            except VGGError as error:
                yield name, {"contenders": {"vgg": {"error": str(error)}}, "ceiling": []}


@contextmanager
def agreed(workload: workloads.Workload, batch: int, conditions: Conditions) -> Iterator[Terms]:
    """Yield the terms of a workload: the weights, in a file that exists as long, and the oracle's answers."""
    plan = workloads.recipe(batch, conditions.precision)
    with tempfile.TemporaryDirectory(prefix="vgg-") as home:
        weights, saved = init.init(workload.spec, plan.seed, plan.init), Path(home, "weights.safetensors")
        params.save_params(saved, weights, workload.spec)
        yield Terms(workload, plan, conditions.device, saved, parity.truth(workload, weights, plan))
