"""Run directories: one training run, or a comparison with one run per backend below it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.errors import VGGError, mismatch
from ..core.files import unwritable, write_atomically
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.provenance import provenance
from ..training.checkpoints import Checkpoints, alone_in
from .options import Setup, Task

DEFAULTS = {"data": None, **Setup().recorded()}
"""What a run directory of an earlier version may not tell."""


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


def create(path: Path, backend: str, task: Task, setup: Setup) -> Path:
    """A run directory with its ``run.json``: all that ``read`` needs to go on."""
    directory(path)
    about = {"backend": backend, "spec": task.spec.to_dict(), "recipe": task.recipe.to_dict()}
    write_json(path / "run.json", {**provenance(), **about, "data": task.data, **setup.recorded()})
    return path


def amend(path: Path, task: Task, setup: Setup) -> None:
    """Note how a run goes on, unless another process is at it."""
    with alone_in(path):
        known = json.loads((path / "run.json").read_text())
        write_json(path / "run.json", {**provenance(), **known, "data": task.data, **setup.recorded()})


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
        run = {**DEFAULTS, **json.loads((path / "run.json").read_text())}
        return {
            **run,
            "backend": run["backend"],
            "spec": Spec.from_dict(run["spec"]),
            "recipe": Recipe.from_dict(run["recipe"]),
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise VGGError(f"{path}: not a run directory ({error}); name one that vgg train made") from error


def setup_of(run: dict[str, Any]) -> Setup:
    """The setup that a run was started with, as far as ``run.json`` tells."""
    return Setup().with_options({name: run[name] for name in asdict(Setup()) if name in run})


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_atomically(path, json.dumps(value, indent=1).encode())
