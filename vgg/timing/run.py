"""``vgg bench`` as a whole."""

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
    """Of everything that can be timed."""
    return tuple(workloads.WORKLOADS)


def run(
    named: Sequence[str],
    chosen: Sequence[str],
    conditions: Conditions,
    listener: Listener,
    write: Callable[[Result], None],
) -> Result:
    """Time what is ``chosen`` of ``names()`` in the backends ``named``; ``write`` gets the result as far as it is."""
    result = {**conditions.about(), "workloads": {}}
    for key, (workload, batch) in _sized(chosen, conditions).items():
        column = result["workloads"][key] = {**workloads.about(workload, batch), "backends": {}}
        for name, found in _timed(workload, batch, named, conditions, listener):
            column["backends"][name] = found
            write({**result, "ok": results.ok(result)})
    result["ok"] = results.ok(result)
    write(result)
    return result


def planned(named: Sequence[str], chosen: Sequence[str], conditions: Conditions) -> Result:
    """The result of ``run`` as far as it is known before anything is timed."""
    sized = _sized(chosen, conditions).items()
    told = {key: {**workloads.about(*sizes), "backends": dict.fromkeys(named)} for key, sizes in sized}
    return {**conditions.about(), "workloads": told}


def _sized(chosen: Sequence[str], conditions: Conditions) -> dict[str, tuple[workloads.Workload, int]]:
    """(workload, batch size) by key in a result: the name, and where it is timed with several batch sizes that too."""
    sized = {}
    for workload in (workloads.find(name) for name in chosen):
        batches = (conditions.batch_size,) if conditions.batch_size else workload.batches[conditions.device]
        for batch in batches:
            sized[f"{workload.name}-{batch}" if len(batches) > 1 else workload.name] = (workload, batch)
    return sized


def _timed(
    workload: workloads.Workload, batch: int, names: Sequence[str], conditions: Conditions, listener: Listener
) -> Iterator[tuple[str, Result]]:
    """(backend, what ``contest`` found)."""
    listener.stage("oracle", workload.name)
    with agreed(workload, batch, conditions) as terms:
        for name in names:
            try:
                yield name, contest(registry.find(name), terms, conditions, listener)
            except VGGError as error:
                yield name, {"contenders": {"vgg": {"error": str(error)}}, "ceiling": []}


@contextmanager
def agreed(workload: workloads.Workload, batch: int, conditions: Conditions) -> Iterator[Terms]:
    """What its contenders start from, in a file that is there as long, and are judged by."""
    plan = workloads.recipe(batch, conditions.precision)
    with tempfile.TemporaryDirectory(prefix="vgg-") as home:
        weights, saved = init.init(workload.spec, plan.seed, plan.init), Path(home, "weights.safetensors")
        params.save_params(saved, weights, workload.spec)
        yield Terms(workload, plan, conditions.device, saved, parity.truth(workload, weights, plan))
