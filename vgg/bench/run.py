"""``vgg bench`` as a whole."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import params, registry
from ..errors import VGGError
from ..provenance import provenance
from ..runs import Listener
from . import ourselves, parity, results, workloads
from .contest import Terms, contest

OURSELVES = "ourselves"
"""The last of the workloads, by name: what vgg itself costs."""
Result = dict[str, Any]


def names() -> tuple[str, ...]:
    """Of everything that can be timed."""
    return (*workloads.WORKLOADS, OURSELVES)


def run(
    named: Sequence[str], chosen: Sequence[str], options: Namespace, listener: Listener, write: Callable[[Result], None]
) -> Result:
    """Time what is ``chosen`` of ``names()`` in the backends ``named``; ``write`` gets the result as far as it is."""
    result = {**conditions(options), "workloads": {}}
    for key, (workload, batch) in _sized(chosen, options).items():
        column = result["workloads"][key] = {**workloads.about(workload, batch), "backends": {}}
        for name, found in _timed(workload, batch, named, options, listener):
            column["backends"][name] = found
            write({**result, "ok": results.ok(result)})
    if OURSELVES in chosen:
        listener.stage("vgg", "timing itself")
        result[OURSELVES] = ourselves.timed(named, options, listener)
    result["ok"] = results.ok(result)
    write(result)
    return result


def planned(named: Sequence[str], chosen: Sequence[str], options: Namespace) -> Result:
    """The result of ``run`` as far as it is known before anything is timed."""
    sized = _sized(chosen, options).items()
    told = {key: {**workloads.about(*sizes), "backends": dict.fromkeys(named)} for key, sizes in sized}
    return {**conditions(options), "workloads": told}


def _sized(chosen: Sequence[str], options: Namespace) -> dict[str, tuple[workloads.Workload, int]]:
    """(workload, batch size) by key in a result: the name, and where it is timed with several batch sizes that too."""
    sized = {}
    for workload in (workloads.find(name) for name in chosen if name != OURSELVES):
        batches = (options.batch_size,) if options.batch_size else workload.batches[options.device]
        for batch in batches:
            sized[f"{workload.name}-{batch}" if len(batches) > 1 else workload.name] = (workload, batch)
    return sized


def conditions(options: Namespace) -> Result:
    """What a result says of how it came about."""
    return provenance() | {name: getattr(options, name) for name in ("device", "precision", "rounds", "env")}


def _timed(
    workload: workloads.Workload, batch: int, names: Sequence[str], options: Namespace, listener: Listener
) -> Iterator[tuple[str, Result]]:
    """(backend, what ``contest`` found)."""
    listener.stage("oracle", workload.name)
    with agreed(workload, batch, options) as terms:
        for name in names:
            try:
                yield name, contest(registry.find(name), terms, options.rounds, options.env, options.timeout, listener)
            except VGGError as error:
                yield name, {"contenders": {"vgg": {"error": str(error)}}, "ceiling": []}


@contextmanager
def agreed(workload: workloads.Workload, batch: int, options: Namespace) -> Iterator[Terms]:
    """What its contenders start from, in a file that is there as long, and are judged by."""
    plan = workloads.recipe(batch, options.precision)
    with tempfile.TemporaryDirectory(prefix="vgg-") as home:
        weights, saved = params.init(workload.spec, plan.seed, plan.init), Path(home, "weights.safetensors")
        params.save_params(saved, weights, workload.spec)
        yield Terms(workload, plan, options.device, saved, parity.truth(workload, weights, plan))
