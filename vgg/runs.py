"""Run directories: one training run, or a comparison with one run a backend below it."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from . import __version__, proof, registry, replicas
from .client import Worker
from .data import Dataset
from .errors import VGGError, mismatch
from .params import write_atomically
from .recipe import Recipe
from .registry import Entry
from .spec import Spec


class Listener(Protocol):
    """Told what goes on: ``stage`` as work changes, ``event`` for every training step and test."""

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


def create(path: Path, backend: str, spec: Spec, recipe: Recipe, options: Namespace) -> Path:
    """A run directory with its ``run.json``: all that ``read`` needs to go on."""
    directory(path)
    about: dict[str, Any] = {"vgg": __version__, "backend": backend, "started": datetime.now().astimezone().isoformat()}
    about |= {"data": options.data, "replicas": getattr(options, "replicas", 1)}
    _write(path / "run.json", {**about, "spec": spec.to_dict(), "recipe": recipe.to_dict()})
    return path


def read(path: Path) -> dict[str, Any]:
    """``run.json`` of a run, its spec and recipe as objects."""
    try:
        run = json.loads((path / "run.json").read_text())
        return {**run, "spec": Spec.from_dict(run["spec"]), "recipe": Recipe.from_dict(run["recipe"])}
    except (OSError, ValueError, KeyError) as error:
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
    keep: int = 2,
    resume: bool = False,
) -> dict[str, Any]:
    """Train in ``worker``, best a fresh one: its peak memory is then the training's; the summary.

    The run directory is filled once the backend has started: one that cannot leaves nothing behind.
    """
    name = worker.entry.name
    names = ("train_images", "train_labels", "test_images", "test_labels")
    batches = -(-len(dataset.train_labels) // recipe.batch_size)
    worker.facts()
    listener.stage(name, "training", batches * recipe.epochs)
    if not resume and replicas.outer(worker.entry).rank == 0:
        create(place, name, spec, recipe, options)
    summary, _ = worker.call(
        "train",
        {name: getattr(dataset, name) for name in names},
        on_event=lambda event: listener.event(name, event),
        out=str(place.absolute()),
        spec=spec.to_dict(),
        recipe=recipe.to_dict(),
        device=options.device,
        keep=keep,
    )
    return dict(summary)


def compare(
    names: list[str], place: Path, spec: Spec, recipe: Recipe, dataset: Dataset, options: Namespace, listener: Listener
) -> dict[str, Any]:
    """Prove, train and time each backend; ``compare.json`` and ``report.html`` in ``place``."""
    from .report import html

    result: dict[str, Any] = {"vgg": __version__, "date": datetime.now().astimezone().isoformat(timespec="seconds")}
    result |= {"machine": proof.machine(), "spec": spec.to_dict(), "recipe": recipe.to_dict(), "backends": {}}
    for name in names:
        try:
            result["backends"][name] = _judged(
                registry.find(name), place / name, spec, recipe, dataset, options, listener
            )
        except VGGError as error:
            result["backends"][name] = {"ok": False, "error": str(error)}
            listener.stage(name, "failed")
        result["ok"] = all(column["ok"] for column in result["backends"].values())
        _write(place / "compare.json", result)
    write_atomically(place / "report.html", html.page(place, result).encode())
    return result


def _judged(
    entry: Entry, place: Path, spec: Spec, recipe: Recipe, dataset: Dataset, options: Namespace, listener: Listener
) -> dict[str, Any]:
    listener.stage(entry.name, "starting")
    with Worker(entry, env=options.env, timeout=options.timeout) as worker:
        facts = worker.facts()
        summary = train(worker, place, spec, recipe, dataset, options, listener, keep=0)
        listener.stage(entry.name, "proving")
        return {"facts": facts, **summary, **proof.prove(worker, spec, device=options.device)}


def _write(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=1).encode())
