"""One training run: a new one, or the rest of one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.errors import mismatch, within
from ..core.files import no_empty_folder, write_atomically
from ..core.recipe import FIELDS
from ..core.replicas import Group
from ..process import registry
from ..process.client import Listener, Worker
from ..process.ranks import outer
from ..process.registry import Entry
from ..process.replies import recorded
from ..training.batches import Steps
from ..training.checkpoints import Checkpoints, initial
from ..training.data import IN_FILES
from ..training.fingerprint import fingerprint
from ..training.past import past
from . import directory, options, tensorboard
from .options import Setup, Task

PARTS = ("train_images", "train_labels", "test_images", "test_labels")
FIXED = ("arch", "recipe", "narrow", "input_shape", "classes")
"""Options that a resumed run cannot change."""


class Stopped(KeyboardInterrupt):
    """A training run was interrupted; the message says how to continue it."""


@dataclass(frozen=True)
class Prepared:
    """A run that is about to start, or to continue if ``resume``, in the directory ``place``.

    ``group`` is the group of the launcher's processes of which this one trains its share.
    """

    entry: Entry
    place: Path
    task: Task
    setup: Setup
    resume: bool = False
    group: Group = field(default_factory=Group)

    @property
    def first(self) -> bool:
        """Whether this process is the first of a launcher's processes, which alone writes and prints."""
        return self.group.rank == 0


def begun(backend: str, task: Task, setup: Setup, out: str | Path | None) -> Prepared:
    """Prepare a new run. Raises ``VGGError`` when its directory cannot be created."""
    entry = registry.find(backend)
    place = Path(out or options.new_path(f"{entry.name}-{task.spec.name}"))
    run = Prepared(entry, place, task, setup, group=outer(entry))
    _check_replicas(run)
    if run.first:
        with no_empty_folder(run.place):  # ``train`` makes it when the backend has started
            directory.directory(run.place)
    return run


def resumed(
    source: Path,
    backend: str | None,
    changes: Mapping[str, Any],
    others: Mapping[str, Any],
    out: str | Path | None,
) -> Prepared:
    """Prepare the rest of the run in the directory ``source``.

    It continues in that directory, or in a new one when the backend is another or ``out`` names one. ``changes`` are
    fields of the recipe, of which only ``epochs`` may change; ``others`` are the other options of ``vgg.train``. Raises
    ``VGGError`` when ``source`` cannot be continued in this way.
    """
    run = directory.read(source)
    plan = replace(run["recipe"], **{name: value for name, value in changes.items() if value is not None})
    changed = {name for name in FIXED if others.get(name) is not None}
    changed |= {name for name in FIELDS if getattr(plan, name) != getattr(run["recipe"], name)} - {"epochs"}
    if changed:
        names = sorted("input" if name == "input_shape" else name for name in changed)
        raise mismatch("vgg train --resume", f"another {', '.join(names)}", "at most other epochs")
    entry = registry.find(backend) if backend else _entry(source, run)
    with within(source / "run.json"):
        recorded_folder = run["data"] if plan.dataset in IN_FILES else None  # earlier versions recorded any
        task = Task(run["spec"], plan, *options.read_data(plan, others.get("data") or recorded_folder))
        options.check_fit(task.spec, plan, task.dataset)
    _check_past(source, run, task)
    setup = directory.setup_of(run).with_options(others)
    prepared = Prepared(entry, source, task, setup, resume=True, group=outer(entry))
    _check_replicas(prepared)
    if (entry.name != run["backend"] or out) and prepared.first:
        place = Path(out or options.new_path(f"{entry.name}-{run['spec'].name}"))
        prepared = replace(prepared, place=directory.continued(source, place, entry.name))
    return prepared


def _entry(source: Path, run: Mapping[str, Any]) -> Entry:
    with within(f"{source / 'run.json'}: backend"):
        return registry.find(run["backend"])


def _check_replicas(run: Prepared) -> None:
    if run.setup.replicas > run.task.recipe.batch_size:
        wanted = f"at most {run.task.recipe.batch_size}, the images of a batch"
        raise mismatch("--replicas", run.setup.replicas, wanted)


def _check_past(source: Path, run: Mapping[str, Any], task: Task) -> None:
    """Raise ``VGGError`` when ``source`` cannot be continued: before a worker starts, and a directory is filled."""
    done = Checkpoints(source, 0).place()
    if done is None and run.get("summary"):
        raise mismatch(str(source), "a finished run without checkpoints", "one with --keep 1 or more")
    if done and task.recipe.epochs < run["recipe"].epochs and done > (task.recipe.epochs, 0):
        raise mismatch("--epochs", task.recipe.epochs, f"at least {done[0]}, which the run has behind it")
    steps = Steps.of(task.recipe, len(task.dataset.train_labels))
    past(source, task.spec, task.recipe, steps, fingerprint(task.spec, task.recipe, _arrays(task)))


def _arrays(task: Task) -> dict[str, Any]:
    return {part: getattr(task.dataset, part) for part in PARTS}


def train(worker: Worker, run: Prepared, listener: Listener) -> dict[str, Any]:
    """Train in ``worker`` and return the summary.

    ``worker`` is best a new one, so that its peak memory is that of the training. The run directory is filled after the
    backend has started, so a backend that cannot start leaves no files. Raises ``BackendError`` when the backend fails,
    and ``Stopped``, after a checkpoint was written, when the run is interrupted.
    """
    name, task = worker.entry.name, run.task
    spec, recipe, dataset = task.spec, task.recipe, task.dataset
    steps = Steps.of(recipe, len(dataset.train_labels))
    device = worker.place(recipe)
    write = tensorboard.writer(run.place / "tensorboard") if run.first and run.setup.tensorboard else None
    if recipe.init_from and not run.resume:
        initial(spec, recipe)  # raises before the run directory is filled
    if run.first:
        _describe(run)
    listener.stage(name, "training", steps.per_epoch * recipe.epochs)
    with write or nullcontext(lambda _: None) as written:

        def on_event(event: dict[str, Any]) -> None:
            listener.event(name, event)
            written(event)

        arguments: dict[str, Any] = {
            "out": str(run.place.absolute()),
            "spec": spec.to_dict(),
            "recipe": recipe.to_dict(),
        }
        arguments |= {"device": device, "keep": run.setup.keep, "every": run.setup.every}
        summary, _ = worker.call(
            "train", _arrays(task), on_event=on_event, class_names=dataset.class_names, **arguments
        )
    if "stopped" in summary:
        raise _stopped(run, summary["stopped"])
    return dict(summary)


def _describe(run: Prepared) -> None:
    if run.resume:
        directory.amend(run.place, run.task, run.setup)
    else:
        directory.create(run.place, run.entry.name, run.task, run.setup)


def _stopped(run: Prepared, place: tuple[int, int]) -> Stopped:
    advice = f"go on with: vgg train --resume {run.place}" if run.setup.keep else "nothing was kept of it"
    return Stopped(f"stopped before epoch {place[0] + 1}, step {place[1] + 1}; {advice}")


def report(place: Path) -> Path:
    """Write ``report.html`` of the finished run in ``place``, and return its path."""
    from ..report import html

    run = directory.load(place)
    name, facts, summary = run["backend"], recorded("facts", run["facts"]), recorded("train", run["summary"])
    run["backends"] = {name: {"facts": facts, **summary}}
    write_atomically(place / "report.html", html.checked_page(run, {name: place}).encode())
    return place / "report.html"
