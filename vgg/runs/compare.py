"""A comparison: the same runs in several backends, with a proof that they hold the same network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..conformance.proof import prove
from ..core.errors import UnavailableError, VGGError
from ..core.files import write_atomically
from ..process.client import Listener
from ..report import html
from ..training.checkpoints import alone_in
from .directory import directory
from .options import Setup, Task
from .record import Record
from .schedule import Schedule, seeds_from
from .train import Stopped, train


def compare(
    names: Sequence[str], place: Path, task: Task, setup: Setup, listener: Listener, count: int = 1
) -> dict[str, Any]:
    """Train, prove and time each of the backends ``names`` with ``count`` seeds; return the result.

    Each run gets a directory below ``place``, which also gets ``compare.json`` (the result) and ``report.html``. A run
    that fails is recorded; the others go on. A backend whose first run fails is a column with ``error``. Raises
    ``VGGError`` when ``place`` is not empty or another process is using it, and ``Stopped`` on Ctrl-C.
    """
    seeds = seeds_from(task.recipe.seed, count)
    with alone_in(directory(place)):
        directory(place)  # nobody has filled it before the lock
        return _carried_out(Record(Schedule(place, tuple(names), seeds, task, setup)), listener)


def resume(place: Path, count: int | None, listener: Listener) -> dict[str, Any]:
    """Go on with the comparison at ``place``, with ``count`` seeds if that is not None; return the result.

    Finished runs are not trained again. A run that has failed is tried again. An unfinished run goes on from its
    checkpoint; without one it is begun anew, and what it has left is moved to the folder ``aside``. Raises ``VGGError``
    when the directory is not as ``compare`` left it.
    """
    from . import resumption  # it needs what only a resumed comparison needs

    resumption.check_comparison(place)
    with alone_in(place):
        record = resumption.read(place, count)
        for path in resumption.prepare(record):
            listener.stage("unfinished run", f"kept in {path}")
        return _carried_out(record, listener)


def _carried_out(record: Record, listener: Listener) -> dict[str, Any]:
    """Train what is pending, and write the page."""
    schedule, missing = record.schedule, dict[str, UnavailableError]()
    record.save()
    runs, total = record.pending(), len(schedule.order())
    try:
        for number, (name, seed) in enumerate(runs, total - len(runs) + 1):
            numbered = _Numbered(listener, f"run {number} of {total}, seed {seed}: ") if total > 1 else listener
            _attempt(record, name, seed, numbered, missing)
    except KeyboardInterrupt as stop:
        done = sum(record.has(*run) for run in schedule.order())
        advice = f"go on with: vgg compare --resume {schedule.place}"
        raise Stopped(f"stopped with {done} of {total} runs finished; {advice}") from stop
    write_atomically(schedule.place / "report.html", html.page(record.result, record.shown()).encode())
    return record.result


def _attempt(record: Record, name: str, seed: int, listener: Listener, missing: dict[str, UnavailableError]) -> None:
    """Carry out one run, and record how it ended. A backend in ``missing`` has no environment, whatever the seed."""
    try:
        if name in missing:
            raise missing[name]
        _run(record, name, seed, listener)
    except VGGError as error:
        if isinstance(error, UnavailableError):
            missing[name] = error
        record.fail(name, seed, str(error))
        listener.stage(name, "failed")
    record.save()


def _run(record: Record, name: str, seed: int, listener: Listener) -> None:
    """Train one run unless it is finished, and prove the backend if it is its first."""
    run, first = record.schedule.run(name, seed), seed == record.schedule.seeds[0]
    listener.stage(name, "starting")
    with run.setup.worker(run.entry) as worker:
        facts = worker.facts()
        record.check_facts(name, facts)
        if not record.has(name, seed):
            summary = train(worker, run, listener)
            _check_shown({name: {"facts": facts, **summary}}, run.place)
            record.add(name, seed, summary)
        if first:
            listener.stage(name, "proving")
            record.prove(name, facts, prove(worker, run.task.spec))
            _check_shown({name: record.result["backends"][name]}, run.place)


def _check_shown(columns: dict[str, Any], run: Path) -> None:
    """Raise ``BackendError`` when a page cannot show a run's files: workers write them, and may write anything."""
    html.check({"backends": columns}, dict.fromkeys(columns, run))


class _Numbered:
    """A listener that also says which run is the one that goes on."""

    def __init__(self, listener: Listener, about: str) -> None:
        self.listener, self.about = listener, about

    def stage(self, backend: str, what: str, total: int | None = None) -> None:
        self.listener.stage(backend, self.about + what, total)

    def event(self, backend: str, event: dict[str, Any]) -> None:
        self.listener.event(backend, event)
