"""The environment of a backend: the current interpreter, or one that uv builds from an exact lock file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from ..core import limits
from ..core.errors import UnavailableError, mismatch, unknown
from ..core.files import read_text
from . import building, registry, sources
from .building import Environment
from .registry import Entry
from .tuning import tuned


def launch(entry: Entry, env: str, home: str) -> tuple[list[str], dict[str, str]]:
    """Return (command, environment variables) of a Python that has the framework of ``entry``.

    The environment is built if it does not exist. ``home`` is a folder that holds a link to this package and nothing
    else, since a path to the parent's site-packages would make its NumPy visible too. Raises ``UnavailableError`` when
    the framework is missing or the environment cannot be built.
    """
    if env == "uv" and entry.lock is None:
        wanted = f"auto or current: the plug-in has no lock file {entry.module}.txt"
        raise mismatch(f"{entry.name}: --env", "uv", wanted, "see docs/backends.md", UnavailableError)
    if env == "current" or entry.lock is None or (env == "auto" and entry.imports and entry.importable()):
        if not entry.importable():
            wanted = ", ".join(entry.imports)
            raise UnavailableError(
                f"{entry.name}: {sys.executable} has no {wanted}; install it, or leave out --env current"
            )
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        return [sys.executable], {**os.environ, "PYTHONPATH": path, **entry.fixed}
    python = _provided(entry).python
    path = os.pathsep.join(filter(None, (str(python.parent), os.environ.get("PATH"))))
    environ = {**sources.without_python(os.environ), "PATH": path, "PYTHONPATH": home}
    return [str(python)], {**tuned(entry.variables, environ), **entry.fixed}


def _provided(entry: Entry) -> Environment:
    """Return an environment of ``entry``, which this process holds until its end. It is built if there is none."""
    choices = building.environments(entry)
    if built := next((choice for choice in choices if choice.hold()), None):
        return built
    failures = []
    for choice in choices:
        try:
            building.build(choice)
        except UnavailableError as error:
            failures.append(error)
        else:
            choice.hold()
            return choice
    raise failures[0]


def damage(entry: Entry, python: str) -> UnavailableError | None:
    """Return the error that says how the environment of ``entry`` with the interpreter ``python`` is damaged.

    It is None when nothing is wrong with it, or it is not one of vgg's own.
    """
    environment = next((one for one in own(entry) if str(one.python) == python), None)
    what = environment and building.damage(environment, entry.imports)
    if not environment or not what:
        return None
    name = environment.name
    return UnavailableError(f"{name}: its environment is damaged ({what}); build it again: vgg env --rebuild {name}")


def own(entry: Entry) -> list[Environment]:
    """Return the environments that serve ``entry``, built or not; none if it has no lock file."""
    return building.environments(entry) if entry.lock else []


def home(entry: Entry) -> dict[str, str]:
    """Return in words ``where`` the backend would run, and the ``version`` of its framework there."""
    from importlib import metadata

    if entry.lock is None:
        return {"where": "current interpreter", "version": "plug-in"}
    if entry.imports and entry.importable():
        packages = sorted(set(metadata.packages_distributions().get(entry.imports[0], ())))
        return {"where": "current interpreter", "version": metadata.version(packages[0]) if packages else "unknown"}
    choices = own(entry)
    built = [choice for choice in choices if choice.exists()]
    where = "own environment, " + ("built" if built else "not built yet")
    return {"where": where, "version": _version((built or choices)[0], entry) or "plug-in"}


def _version(environment: Environment, entry: Entry) -> str:
    """Return the version of the framework that the lock file names, or an empty text."""
    lines = read_text(environment.lock, "a lock file", limits.DOCUMENT).splitlines() if environment.lock else []
    pattern = re.compile(rf"{re.escape(entry.name)}(?:-\w+)?==(\S+)")
    return next((match[1] for line in lines if (match := pattern.match(line))), "")


def listing() -> list[dict[str, Any]]:
    """Return the environments that backends can have, and those in the folder that no backend has any more.

    Each has its ``name``, the folder ``where`` it is or would be, the ``version`` of its framework, the date when it
    was ``built`` (None if it is not), and its ``size`` in bytes.
    """
    versions = {variant: _version(variant, entry) for variant, entry in _known()}
    return [_row(environment, versions.get(environment, "no longer used")) for environment in _all()]


def _row(environment: Environment, version: str) -> dict[str, Any]:
    built = None
    if environment.exists():
        built = datetime.fromtimestamp(environment.folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
    about = {"name": environment.name, "where": str(environment.folder), "version": version, "built": built}
    return about | {"size": environment.size()}


def rebuild(name: str) -> int:
    """Build the environment of this name again and return its size in bytes. The old one stays until that is done.

    Raises ``VGGError`` when there is no such name, another process uses it, or it cannot be built.
    """
    environments = {environment.name: environment for environment, _ in _known()}
    if name not in environments:
        raise unknown("environment", name, environments)
    with _alone(environments[name]):
        building.rebuild(environments[name], quiet=False)
    return environments[name].size()


def remove(name: str) -> int:
    """Remove the environment of this name, and those of its earlier lock files. Return the bytes that this frees.

    Raises ``VGGError`` when there is none or another process uses it.
    """
    environments = [one for one in _all() if one.name == name and one.folder.exists()]
    if not environments:
        raise unknown("environment", name, {one.name for one in _all() if one.folder.exists()} or ["none is built"])
    freed = 0
    for environment in environments:
        with _alone(environment):
            freed += building.remove(environment)
    return freed


@contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    try:
        with environment.alone():
            yield
    except BlockingIOError:
        got, wanted = "an environment in use", "one that no other process uses"
        raise mismatch(environment.name, got, wanted, "end that process first") from None


def _known() -> Iterator[tuple[Environment, Entry]]:
    """Yield every environment that a backend can have, built or not, with the backend."""
    for name in registry.names():
        for entry in registry.find(name).variants():
            yield own(entry)[0], entry


def _all() -> list[Environment]:
    """Return the known environments, then those of earlier lock files."""
    known = [environment for environment, _ in _known()]
    folders = {environment.folder for environment in known}
    others = [path for path in sorted(building.root().glob("[!.]*-*")) if path.is_dir() and path not in folders]
    return known + [Environment(path.name.rpartition("-")[0], None, path) for path in others]
