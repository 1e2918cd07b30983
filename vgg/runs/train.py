"""One training run: a new one, or the rest of one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import mismatch
from ..core.files import write_atomically
from ..core.recipe import Recipe
from ..process import registry
from ..process.client import Listener, Worker
from ..process.ranks import outer
from ..process.registry import Entry
from ..training.batches import split
from ..training.checkpoints import Checkpoints, initial
from . import directory, options, tensorboard
from .options import Setup, Task

PARTS = ("train_images", "train_labels", "test_images", "test_labels")
FIXED = ("arch", "recipe", "narrow", "input_shape", "classes")
"""What a run that goes on has settled."""


class Stopped(KeyboardInterrupt):
    """A run that was interrupted, and how to go on."""


@dataclass(frozen=True)
class Prepared:
    """A run that is about to start, or to go on, in the directory ``place``."""

    entry: Entry
    place: Path
    task: Task
    setup: Setup
    resume: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the first of a launcher's processes, the one that writes and prints."""
        return outer(self.entry).rank == 0


def begun(backend: str, task: Task, setup: Setup, out: str | Path | None) -> Prepared:
    """A new run."""
    entry = registry.find(backend)
    run = Prepared(entry, Path(out or options.new_path(f"{entry.name}-{task.spec.name}")), task, setup)
    _check_replicas(run)
    if run.first:
        directory.directory(run.place)
    return run


def resumed(
    source: Path,
    backend: str | None,
    changes: Mapping[str, Any],
    given: Mapping[str, Any],
    out: str | Path | None,
) -> Prepared:
    """The rest of the run ``source``, in its directory; in another backend or with ``out``, in a new one.

    ``changes`` are fields of the recipe, of which only ``epochs`` may change; ``given``, the other options.
    """
    from ..training import data

    run = directory.read(source)
    changed = {*(n for n, value in changes.items() if value is not None), *(n for n in FIXED if given.get(n))} - {"epochs"}
    if changed:
        names = sorted("input" if name == "input_shape" else name for name in changed)
        raise mismatch("vgg train --resume", f"another {', '.join(names)}", "at most other epochs")
    entry, plan = registry.find(backend or run["backend"]), run["recipe"]
    plan = replace(plan, epochs=changes.get("epochs") or plan.epochs)
    _check_place(source, run, plan)
    folder = given.get("data") or run["data"]
    task = Task(run["spec"], plan, data.load(plan.dataset, folder), str(Path(folder).absolute()) if folder else None)
    prepared = Prepared(entry, source, task, directory.setup_of(run).with_options(given), resume=True)
    _check_replicas(prepared)
    if (entry.name != run["backend"] or out) and prepared.first:
        place = Path(out or options.new_path(f"{entry.name}-{run['spec'].name}"))
        prepared = replace(prepared, place=directory.continued(source, place, entry.name))
    return prepared


def _check_replicas(run: Prepared) -> None:
    if run.setup.replicas > run.task.recipe.batch_size:
        wanted = f"at most {run.task.recipe.batch_size}, the images of a batch"
        raise mismatch("--replicas", run.setup.replicas, wanted)


def _check_place(source: Path, run: Mapping[str, Any], plan: Recipe) -> None:
    """Whether there is something to go on from, and somewhere to go."""
    done = Checkpoints(source, 0).place()
    if done is None and run.get("summary"):
        raise mismatch(str(source), "a finished run without checkpoints", "one with --keep 1 or more")
    if done and done > (plan.epochs, 0):
        raise mismatch("--epochs", plan.epochs, f"at least {done[0]}, which the run has behind it")


def train(worker: Worker, run: Prepared, listener: Listener) -> dict[str, Any]:
    """Train in ``worker``, best a fresh one: its peak memory is then the training's; the summary.

    The run directory is filled once the backend has started: one that cannot leaves nothing behind. A run that is
    interrupted ends in ``Stopped``, its checkpoint written.
    """
    name, task = worker.entry.name, run.task
    spec, recipe, dataset = task.spec, task.recipe, task.dataset
    examples = len(split(len(dataset.train_labels), recipe.validation, recipe.seed)[0])
    device = worker.place(recipe)
    write = tensorboard.writer(run.place / "tensorboard") if run.first and run.setup.tensorboard else None
    if recipe.init_from and not run.resume:
        initial(spec, recipe)  # refused here, it leaves no run behind
    if run.first:
        _describe(run)
    listener.stage(name, "training", math.ceil(examples / recipe.batch_size) * recipe.epochs)
    with write or nullcontext(lambda _: None) as written:

        def on_event(event: dict[str, Any]) -> None:
            listener.event(name, event)
            written(event)

        arrays = {part: getattr(dataset, part) for part in PARTS}
        arguments: dict[str, Any] = {"out": str(run.place.absolute()), "spec": spec.to_dict(), "recipe": recipe.to_dict()}
        arguments |= {"device": device, "keep": run.setup.keep, "every": run.setup.every}
        summary, _ = worker.call("train", arrays, on_event=on_event, class_names=dataset.class_names, **arguments)
    if "stopped" in summary:
        raise _stopped(run, summary["stopped"])
    return dict(summary)


def _describe(run: Prepared) -> None:
    if run.resume:
        directory.amend(run.place, run.task, run.setup)
    else:
        directory.create(run.place, run.entry.name, run.task, run.setup)


def _stopped(run: Prepared, place: tuple[int, int]) -> Stopped:
    kept = f"go on with: vgg train --resume {run.place}" if run.setup.keep else "nothing was kept of it"
    return Stopped(f"stopped before epoch {place[0] + 1}, step {place[1] + 1}; {kept}")


def report(place: Path) -> Path:
    """``report.html`` of one finished run."""
    from ..report import html

    run = json.loads((place / "run.json").read_text())
    run["backends"] = {run["backend"]: {"facts": run["facts"], **run["summary"]}}
    write_atomically(place / "report.html", html.page(run, {run["backend"]: place}).encode())
    return place / "report.html"
