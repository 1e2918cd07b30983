"""The parent's side of ``vgg bench``: it starts a workload's contenders, checks their parity and times them in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import VGGError, mismatch
from ..core.recipe import Recipe
from ..process.client import Listener, Worker
from ..process.environments import launch
from ..process.registry import Entry, own_names
from . import parity
from .conditions import Conditions
from .contender import COPIED, Array, noise, rates
from .workloads import KINDS, Workload

SECONDS = 2.0
"""The least duration of the steps in one measurement, when they are counted."""
STEPS = 3
"""The least number of steps in one measurement, if one step is shorter than that."""
SIZE = 2048
"""Side of the square matrices whose product is the machine's ceiling on a CPU; four times that on a GPU."""
PAUSE = 1.0
"""Seconds before a measurement, in which the previous contender's threads go to sleep and its loaders fill up."""
UNCACHED = {"JAX_ENABLE_COMPILATION_CACHE": "false", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
"""Environment variables that make the first step compile."""
ZOOS = {"torch": ("torchvision",)}
"""The packages that a framework's baselines need besides it."""


@dataclass(frozen=True)
class Terms:
    """What is the same for every contender of a workload."""

    workload: Workload
    plan: Recipe
    device: str
    weights: Path
    known: parity.Truth

    def told(self) -> dict[str, Any]:
        """Return the fields of a contender's task, for a worker."""
        fields = {"spec": self.workload.spec.to_dict(), "recipe": self.plan.to_dict()}
        return {**fields, "device": self.device, "weights": str(self.weights)}


@dataclass
class Entrant:
    """A contender in its own process, and its results so far."""

    worker: Worker
    found: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)

    def round(self) -> None:
        """Make one more measurement of each phase."""
        for phase, count in self.counts.items():
            self.found[phase].append(self.measured(phase, count)["seconds"])

    def measured(self, phase: str, count: int) -> dict[str, float]:
        """Return what ``contender.measure`` returns for ``count`` warm steps."""
        return dict(self.worker.call("measure", phase=phase, count=count, warm=True)[0])


@contextmanager
def entered(entry: Entry, kind: str, terms: Terms, conditions: Conditions) -> Iterator[Entrant]:
    """Start a contender, judge it, take its first step and count the steps of a measurement."""
    entry = _home(entry, kind)
    launch(
        entry.on(terms.device), conditions.env, ""
    )  # builds the environment now, so that it does not count as start time
    size = terms.plan.batch_size
    batches: dict[str, Array] = {"images": terms.workload.images(size), "labels": terms.workload.labels(size)}
    start = time.perf_counter()
    where: dict[str, Any] = {"env": conditions.env, "timeout": conditions.timeout, "device": terms.device}
    with Worker(entry, **where, variables=UNCACHED) as worker:
        variables_set, _ = worker.call("contend", batches, kind=kind, **terms.told())
        start_seconds = time.perf_counter() - start
        verdict = {} if kind == "vgg" else parity.judged(worker, terms.known)
        first, _ = worker.call("measure", phase="train", count=1, warm=False)
        entrant = Entrant(worker, {"facts": worker.facts(), "variables": variables_set})
        entrant.found |= {"first_step_seconds": first["seconds"], "ready_seconds": start_seconds + first["seconds"]}
        _count(entrant, terms.workload.phases)
        entrant.found["parity"] = verdict or parity.judged(worker, terms.known)
        if kind == "vgg":
            entrant.found["load_seconds"], _ = worker.call("load_seconds", **terms.told())
        yield entrant


def _count(entrant: Entrant, phases: Iterable[str]) -> None:
    """Count how many warm steps of each phase take ``SECONDS``; also enter the peak memory of training."""
    for phase in phases:
        count = 1
        while (warm := entrant.measured(phase, count))["seconds"] * count < SECONDS:
            count = max(STEPS, math.ceil(1.1 * SECONDS / warm["seconds"]))
        entrant.counts[phase] = count
        entrant.found[phase] = []
        if phase == "train":
            entrant.found |= {what: warm[what] for what in ("peak_bytes", "gpu_peak_bytes")}
    entrant.found["counts"] = entrant.counts


def contest(entry: Entry, terms: Terms, conditions: Conditions, listener: Listener) -> dict[str, Any]:
    """Time all contenders in turn; return ``contenders`` by kind, with results or an ``error``, and the ``ceiling``."""
    if terms.device == "gpu" and entry.name not in own_names():
        raise mismatch("vgg bench --device gpu", entry.name, f"one of {', '.join(own_names())}, which know its ceiling")
    results: dict[str, Any] = {}
    ceiling: list[dict[str, float]] = []
    with ExitStack() as stack:
        entrants: dict[str, Entrant] = {}
        for kind in terms.workload.kinds if entry.name in own_names() else KINDS[:1]:
            listener.stage(entry.name, f"{terms.workload.name}, starting {kind}")
            try:
                entrants[kind] = stack.enter_context(entered(entry, kind, terms, conditions))
                results[kind] = entrants[kind].found
            except VGGError as error:
                results[kind] = {"error": str(error)}
        listener.stage(entry.name, f"{terms.workload.name}, timing", conditions.rounds)
        for number in range(conditions.rounds):
            results |= _played(entrants, number)
            if "vgg" not in entrants:
                results |= {kind: {"error": "not timed, because ours failed"} for kind in entrants}
                break
            ceiling.append(_ceiling(entrants["vgg"].worker, terms))
            listener.event(entry.name, {"round": number + 1})
    return {"contenders": results, "ceiling": ceiling}


def _played(entrants: dict[str, Entrant], number: int) -> dict[str, dict[str, str]]:
    """Time one round, in which another contender begins each time; remove and return the contenders that fail."""
    failed, kinds = {}, list(entrants)
    first = number % max(len(kinds), 1)
    for kind in kinds[first:] + kinds[:first]:
        time.sleep(PAUSE)
        try:
            entrants[kind].round()
        except VGGError as error:
            failed[kind] = {"error": str(error)}
    for kind in failed:
        del entrants[kind]
    return failed


def _home(entry: Entry, kind: str) -> Entry:
    """Return the entry, and so the environment, in which a contender runs.

    Baselines get the framework's zoo if that is a separate package. The textbook's runs without the environment
    variables that make a framework faster, because no tutorial mentions them.
    """
    if kind == "vgg":
        return entry
    entry = replace(entry, variables={}) if kind == "textbook" else entry
    lock = entry.lock.with_stem(f"{entry.lock.stem}-zoo") if entry.lock else None
    return replace(entry, lock=lock, imports=(*entry.imports, *ZOOS[entry.name])) if lock and lock.is_file() else entry


def _ceiling(worker: Worker, terms: Terms) -> dict[str, float]:
    """Return FLOP/s of a matrix product and bytes/s of a copy: the better of the framework's and, on a CPU, NumPy's."""
    measured = [_numpy(SIZE)] if terms.device == "cpu" else []
    size = SIZE if terms.device == "cpu" else 4 * SIZE
    if worker.entry.name in own_names():
        measured.append(worker.call("ceiling", size=size, **terms.told())[0])
    return {what: max(rates[what] for rates in measured) for what in measured[0]}


def _numpy(size: int) -> dict[str, float]:
    one, other = noise(size), np.empty((size, size), np.float32)
    source, target = np.ones((2, COPIED), np.float32)
    return rates(size, lambda: np.matmul(one, one, out=other), lambda: np.copyto(target, source))
