"""Run directories: one training run, or a comparison with one run a backend below it."""

from __future__ import annotations

import json
import math
import os
import shutil
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from . import proof, registry, tensorboard
from .checkpoints import Checkpoints, alone_in, initial
from .client import Worker
from .data import Dataset
from .errors import VGGError, mismatch
from .examples import split
from .params import unwritable, write_atomically
from .provenance import provenance
from .recipe import Recipe
from .registry import Entry
from .replicas import outer
from .spec import Spec

PARTS = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONS = {"data": None, "device": "cpu", "replicas": 1, "deterministic": False}
OPTIONS |= {"keep": 2, "every": 0, "tensorboard": False}
"""What a run is started with besides spec and recipe, and goes on with, unless told otherwise: flags, and names in
``run.json``.
"""


class Stopped(KeyboardInterrupt):
    """A run that was interrupted, and how to go on."""


class Listener(Protocol):
    """Told what goes on: ``stage`` as work changes, ``event`` for every training step and evaluation."""

    def stage(self, backend: str, what: str, total: int | None = None) -> None: ...

    def event(self, backend: str, event: dict[str, Any]) -> None: ...


def directory(path: Path) -> Path:
    """A new or empty directory at ``path``; never one that holds something."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        filled = any(path.iterdir())
    except OSError as error:
        raise VGGError(
            f"{path}: cannot be made a run directory ({error.strerror}); choose another with --out"
        ) from error
    if filled:
        raise mismatch(str(path), "a directory with files in it", "a new or empty one", "choose another with --out")
    return path


def file(path: Path) -> Path:
    """A path where a file can be written and none is yet."""
    if path.exists():
        raise mismatch(str(path), "a file that is there", "a new one", "choose another with --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise VGGError(f"{path}: cannot be written; choose another place with --out")
    return path


def create(path: Path, backend: str, spec: Spec, recipe: Recipe, options: Namespace) -> Path:
    """A run directory with its ``run.json``: all that ``read`` needs to go on."""
    directory(path)
    about = {"backend": backend, "spec": spec.to_dict(), "recipe": recipe.to_dict()}
    write_json(path / "run.json", {**provenance(), **about, **_told(options)})
    return path


def _told(options: Namespace) -> dict[str, Any]:
    """How a run was started, for ``run.json``; a folder of data by its whole path."""
    told = {name: getattr(options, name) for name in OPTIONS}
    return {**told, "data": str(Path(options.data).absolute()) if options.data else None}


def _amend(path: Path, options: Namespace) -> None:
    """Note how a run goes on, unless another process is at it."""
    with alone_in(path):
        write_json(path / "run.json", {**provenance(), **json.loads((path / "run.json").read_text()), **_told(options)})


def continued(source: Path, place: Path, backend: str) -> Path:
    """A run directory at ``place`` from which ``backend`` goes on where the run ``source`` has its last checkpoint."""
    run = read(source)
    checkpoints = Checkpoints(source, 0).paths()
    if not checkpoints:
        raise mismatch(str(source), "no checkpoint", "a run with one")
    directory(place)
    try:
        (place / "checkpoints").mkdir()
        shutil.copyfile(checkpoints[-1], place / "checkpoints" / checkpoints[-1].name)
        shutil.copyfile(source / "metrics.jsonl", place / "metrics.jsonl")
    except OSError as error:
        raise VGGError(f"{source}: cannot be copied to {place} ({error}); choose another place with --out") from error
    about = {"backend": backend, "continues": str(source.absolute()), "summary": None}
    write_json(place / "run.json", {**run, **about, "spec": run["spec"].to_dict(), "recipe": run["recipe"].to_dict()})
    return place


def read(path: Path) -> dict[str, Any]:
    """``run.json`` of a run, its spec and recipe as objects."""
    try:
        run = {**OPTIONS, **json.loads((path / "run.json").read_text())}
        return {
            **run,
            "backend": run["backend"],
            "spec": Spec.from_dict(run["spec"]),
            "recipe": Recipe.from_dict(run["recipe"]),
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VGGError(f"{path}: not a run directory ({error}); name one that vgg train made") from error


def train(
    worker: Worker,
    place: Path,
    spec: Spec,
    recipe: Recipe,
    dataset: Dataset,
    options: Namespace,
    listener: Listener,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Train in ``worker``, best a fresh one: its peak memory is then the training's; the summary.

    The run directory is filled once the backend has started: one that cannot leaves nothing behind. A run that is
    interrupted ends in ``Stopped``, its checkpoint written.
    """
    name = worker.entry.name
    arrays = {part: getattr(dataset, part) for part in PARTS}
    steps = math.ceil(len(split(len(dataset.train_labels), recipe.validation, recipe.seed)[0]) / recipe.batch_size)
    device = worker.place(recipe)
    first = outer(worker.entry).rank == 0
    write = tensorboard.writer(place / "tensorboard") if first and options.tensorboard else None
    if recipe.init_from and not resume:
        initial(spec, recipe)  # refused here, it leaves no run behind
    if first:
        _amend(place, options) if resume else create(place, name, spec, recipe, options)
    listener.stage(name, "training", steps * recipe.epochs)
    with write or nullcontext(lambda _: None) as written:
        told = {"out": str(place.absolute()), "spec": spec.to_dict(), "recipe": recipe.to_dict()}
        told |= {"device": device, "keep": options.keep, "every": options.every}

        def on_event(event: dict[str, Any]) -> None:
            listener.event(name, event)
            written(event)

        summary, _ = worker.call("train", arrays, on_event=on_event, class_names=dataset.class_names, **told)
    if "stopped" in summary:
        epoch, step = summary["stopped"]
        kept = f"go on with: vgg train --resume {place}" if options.keep else "nothing was kept of it"
        raise Stopped(f"stopped before epoch {epoch + 1}, step {step + 1}; {kept}")
    return dict(summary)


def compare(
    names: list[str], place: Path, spec: Spec, recipe: Recipe, dataset: Dataset, options: Namespace, listener: Listener
) -> dict[str, Any]:
    """Prove, train and time each backend; ``compare.json`` and ``report.html`` in ``place``."""
    from .report import html

    result = provenance() | {"spec": spec.to_dict(), "recipe": recipe.to_dict(), "backends": {}}
    for name in names:
        try:
            result["backends"][name] = _judged(
                registry.find(name), place / name, spec, recipe, dataset, options, listener
            )
        except VGGError as error:
            result["backends"][name] = {"ok": False, "error": str(error)}
            listener.stage(name, "failed")
        result["ok"] = all(column["ok"] for column in result["backends"].values())
        write_json(place / "compare.json", result)
    page = html.page(result, {name: place / name for name in result["backends"]})
    write_atomically(place / "report.html", page.encode())
    return result


def report(place: Path) -> Path:
    """``report.html`` of one finished run."""
    from .report import html

    run = json.loads((place / "run.json").read_text())
    run["backends"] = {run["backend"]: {"facts": run["facts"], **run["summary"]}}
    write_atomically(place / "report.html", html.page(run, {run["backend"]: place}).encode())
    return place / "report.html"


def _judged(
    entry: Entry, place: Path, spec: Spec, recipe: Recipe, dataset: Dataset, options: Namespace, listener: Listener
) -> dict[str, Any]:
    listener.stage(entry.name, "starting")
    with Worker(entry, env=options.env, timeout=options.timeout, device=options.device) as worker:
        facts = worker.facts()
        summary = train(worker, place, spec, recipe, dataset, options, listener)
        listener.stage(entry.name, "proving")
        return {"facts": facts, **summary, **proof.prove(worker, spec)}


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_atomically(path, json.dumps(value, indent=1).encode())
