"""Run directories: one training run, or a comparison with one run per backend below it."""

from __future__ import annotations

import json
import os
import shutil
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
"""Values for the fields that ``run.json`` of an earlier version may lack."""


def directory(path: Path) -> Path:
    """Return ``path`` as an empty directory, created if it does not exist.

    Raises ``VGGError`` when it cannot be created or has files in it.
    """
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
    """Return ``path``, whose folder is created if it does not exist.

    Raises ``VGGError`` when a file is there already or none can be written.
    """
    if os.path.lexists(path):  # unlike Path.exists, it never raises
        raise mismatch(str(path), "a file that is there", "a new one", "choose another with --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise VGGError(f"{path}: cannot be written; choose another place with --out")
    return path


def create(path: Path, backend: str, task: Task, setup: Setup) -> Path:
    """Create the run directory ``path`` with a ``run.json`` that ``read`` accepts, and return it.

    Raises ``VGGError`` when that is not possible.
    """
    directory(path)
    about = {"backend": backend, "spec": task.spec.to_dict(), "recipe": task.recipe.to_dict()}
    write_json(path / "run.json", {**provenance(), **about, "data": task.data, **setup.recorded()})
    return path


def amend(path: Path, task: Task, setup: Setup) -> None:
    """Record in ``run.json`` the task and setup with which a run continues.

    Raises ``VGGError`` when another process is using the directory.
    """
    with alone_in(path):
        earlier = json.loads((path / "run.json").read_text())
        write_json(path / "run.json", {**provenance(), **earlier, "data": task.data, **setup.recorded()})


def continued(source: Path, place: Path, backend: str) -> Path:
    """Create a run directory at ``place`` in which ``backend`` continues the run ``source``, and return it.

    It continues from the last checkpoint of ``source``. Raises ``VGGError`` when there is none or it cannot be copied.
    """
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
    """Return ``run.json`` of the run directory ``path`` with its spec and recipe as objects.

    Raises ``VGGError`` when ``path`` is not a run directory.
    """
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
    """Return the setup that a run was started with. Fields that ``run.json`` does not record have their defaults."""
    return Setup().with_options(run)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, completely or not at all. Raises ``VGGError`` when that is not possible."""
    write_atomically(path, json.dumps(value, indent=1).encode())
