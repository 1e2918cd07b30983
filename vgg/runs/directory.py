"""Run directories: one training run, or a comparison with one run per backend below it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core import limits
from ..core.errors import VGGError, mismatch, within
from ..core.files import no_empty_folder, read_object, unwritable, write_atomically
from ..core.recipe import FIELDS as RECIPE_FIELDS
from ..core.recipe import Recipe
from ..core.spec import FIELDS as SPEC_FIELDS
from ..core.spec import Spec
from ..process.provenance import provenance
from ..training.checkpoints import Checkpoints, alone_in
from .options import Setup, Task

DEFAULTS = {"data": None, **Setup().recorded()}
"""Values for the fields that ``run.json`` of an earlier version may lack."""
NEEDED = {"backend", "spec", "recipe"}
"""The fields without which a run cannot be read."""


def _whole(value: Any, low: int = 0) -> bool:
    return type(value) is int and low <= value <= limits.COUNT


_MACHINE = {"system", "cpu", "cores"}
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("backend", "date", "vgg", "continues"), ("a text", lambda value: isinstance(value, str))),
    **dict.fromkeys(("spec", "recipe"), ("a table", lambda value: isinstance(value, dict))),
    **dict.fromkeys(("facts", "summary"), ("a table or null", lambda value: value is None or isinstance(value, dict))),
    "commit": ("a text or null", lambda value: value is None or isinstance(value, str)),
    "data": ("an absolute path or null", lambda value: value is None or (isinstance(value, str) and value[:1] == "/")),
    **dict.fromkeys(("deterministic", "tensorboard"), ("true or false", lambda value: isinstance(value, bool))),
    **dict.fromkeys(("keep", "every"), ("an integer >= 0", _whole)),
    **dict.fromkeys(("replicas", "examples"), ("an integer >= 1", lambda value: _whole(value, 1))),
    "placed": ("cpu or gpu", lambda value: value in ("cpu", "gpu")),
    "device": ("cpu, gpu or auto", lambda value: value in ("cpu", "gpu", "auto")),
    "machine": ("a table with system, cpu and cores", lambda value: isinstance(value, dict) and {*value} >= _MACHINE),
    "earlier_facts": ("a list", lambda value: isinstance(value, list)),
    "starts": ("a list of integers >= 0", lambda value: isinstance(value, list) and all(map(_whole, value))),
}
"""Field of ``run.json`` -> what it holds, and whether a value is such. Other fields are somebody else's."""


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


def run_path(place: Path, name: str, seed: int, seeds: Sequence[int]) -> Path:
    """Return the directory of the run of backend ``name`` and ``seed`` in a comparison of ``seeds`` at ``place``."""
    return place / name / f"seed-{seed}" if len(seeds) > 1 else place / name


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
    about = {"backend": backend, "spec": task.spec.to_dict(), "recipe": task.recipe.to_dict()}
    with no_empty_folder(path), alone_in(directory(path)):
        directory(path)  # nobody has filled it before the lock
        write_json(path / "run.json", {**provenance(), **about, "data": task.data, **setup.recorded()})
    return path


def amend(path: Path, task: Task, setup: Setup) -> None:
    """Record in ``run.json`` the task and setup with which a run continues.

    Raises ``VGGError`` when another process is using the directory.
    """
    with alone_in(path):
        write_json(path / "run.json", {**provenance(), **load(path), "data": task.data, **setup.recorded()})


def continued(source: Path, place: Path, backend: str) -> Path:
    """Create a run directory at ``place`` in which ``backend`` continues the run ``source``, and return it.

    It continues from the last checkpoint of ``source``. Raises ``VGGError`` when there is none or it cannot be copied.
    """
    about: dict[str, Any] = {"backend": backend, "continues": str(source.absolute()), "summary": None, "starts": []}
    run, checkpoints = load(source), Checkpoints(source, 0).paths()
    if not checkpoints:
        raise mismatch(str(source), "no checkpoint", "a run with one")
    with alone_in(directory(place)):
        directory(place)
        try:
            (place / "checkpoints").mkdir()
            shutil.copyfile(checkpoints[-1], place / "checkpoints" / checkpoints[-1].name)
            shutil.copyfile(source / "metrics.jsonl", place / "metrics.jsonl")
        except OSError as error:
            raise VGGError(
                f"{source}: cannot be copied to {place} ({error}); choose another place with --out"
            ) from error
        write_json(place / "run.json", run | about)
    return place


def read(path: Path) -> dict[str, Any]:
    """Return ``run.json`` of the run directory ``path`` with its spec and recipe as objects.

    Raises ``VGGError``, which names the field, when ``path`` is not a run directory.
    """
    run = DEFAULTS | load(path)
    with within(path / "run.json"):
        check_complete("spec", run["spec"], SPEC_FIELDS)
        check_complete("recipe", run["recipe"], RECIPE_FIELDS)
        return run | {"spec": Spec.from_dict(run["spec"]), "recipe": Recipe.from_dict(run["recipe"])}


def load(path: Path) -> dict[str, Any]:
    """Return ``run.json`` of the run directory ``path`` as it is.

    Raises ``VGGError``, which names the field, when there is none or a field has a wrong type.
    """
    file = path / "run.json"
    if not os.path.lexists(file):
        raise VGGError(f"{path}: not a run directory (no run.json in it can be read); name one that vgg train made")
    run = read_object(file)
    for name, (wanted, fits) in _FIELDS.items():
        if name in NEEDED - run.keys() or (name in run and not fits(run[name])):
            got = repr(run[name])[:60] if name in run else "nothing"
            raise mismatch(f"{file}: {name}", got, wanted, "put the file back as vgg wrote it")
    return run


def check_complete(what: str, table: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise ``VGGError`` when a name is missing: vgg writes them all, and a default is not what the run had."""
    missing = sorted({*names} - table.keys())
    if missing:
        raise mismatch(f"{what}.{missing[0]}", "nothing", "the value that the run had", "put the file back as it was")


def setup_of(run: dict[str, Any]) -> Setup:
    """Return the setup that a run was started with. Fields that ``run.json`` does not record have their defaults."""
    return Setup().with_options({name: run[name] for name in Setup().recorded()})


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, completely or not at all. Raises ``VGGError`` when that is not possible."""
    write_atomically(path, json.dumps(value, indent=1).encode())
