"""The environment of a backend: the current interpreter, or one that uv builds from an exact lock file."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from ..core.errors import UnavailableError
from .registry import Entry
from .tuning import tuned

PYTHON = "3.11"
"""The Python of the lock files. MXNet 1.9.1 needs NumPy 1.23, which has no wheels for a later Python."""
_PROVIDED: set[tuple[str, ...]] = set()
"""The environments that this process knows to exist, by command and cache. Another look takes a third of a second."""


def launch(entry: Entry, env: str, home: str) -> tuple[list[str], dict[str, str]]:
    """Return (command, environment variables) of a Python that has the framework of ``entry``.

    The environment is built if it does not exist. ``home`` is a folder that holds a link to this package and nothing
    else, since a path to the parent's site-packages would make its NumPy visible too. Raises ``UnavailableError`` when
    the framework is missing or the environment cannot be built.
    """
    if env == "current" or entry.lock is None or (env == "auto" and entry.imports and entry.importable()):
        if not entry.importable():
            wanted = ", ".join(entry.imports)
            raise UnavailableError(
                f"{entry.name}: {sys.executable} has no {wanted}; install it, or leave out --env current"
            )
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        return [sys.executable], {**os.environ, "PYTHONPATH": path, **entry.fixed}
    environ = _uv_environ(home)
    command = _uv_command(entry.lock)
    _provision(entry, command, environ)
    return [*command[:2], "--offline", *command[2:]], {**tuned(entry.variables, environ), **entry.fixed}


def _uv_command(lock: Path) -> list[str]:
    from uv import find_uv_bin

    uv = os.fsdecode(find_uv_bin())
    return [uv, "run", "--no-project", "--isolated", "--python", PYTHON, "--with-requirements", str(lock), "python"]


def _uv_environ(home: str) -> dict[str, str]:
    """Return the environment variables for uv.

    The variables of the current Python are removed; pip's mirrors and wheel folders are passed on to uv. Bytecode is
    kept in uv's own cache: without it every start of TensorFlow takes ten seconds longer.
    """
    dropped = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    environ = {k: v for k, v in os.environ.items() if k not in dropped}
    from_pip = {
        "UV_DEFAULT_INDEX": environ.get("PIP_INDEX_URL"),
        "UV_INDEX": environ.get("PIP_EXTRA_INDEX_URL"),
        "UV_FIND_LINKS": ",".join(environ.get("PIP_FIND_LINKS", "").split()),
        "SSL_CERT_FILE": environ.get("PIP_CERT"),
    }
    return {**{k: v for k, v in from_pip.items() if v}, **environ, "PYTHONPATH": home}


def _provision(entry: Entry, command: list[str], environ: dict[str, str]) -> None:
    """Build the environment unless it is cached. The network is used only when it cannot be built without."""
    key = (*command, environ.get("UV_CACHE_DIR", ""))
    if key not in _PROVIDED and not _cached(command, environ):
        _build(entry, command, environ)
    _PROVIDED.add(key)


def _build(entry: Entry, command: list[str], environ: dict[str, str]) -> None:
    print(f"{entry.name}: building its environment from {entry.lock}", file=sys.stderr, flush=True)
    terminal = sys.stderr.isatty()
    build = subprocess.run(_probe(command), check=False, env=environ, stderr=None if terminal else subprocess.PIPE)
    if build.returncode:
        tail = (build.stderr or b"").decode(errors="replace").strip().splitlines()[-6:]
        message = f"{entry.name}: its environment could not be built; to see why: {shlex.join(_probe(command))}"
        raise UnavailableError("\n  | ".join([message, *tail]))


def _cached(command: list[str], environ: dict[str, str]) -> bool:
    """Return whether the environment exists, or can be built without the network."""
    return not subprocess.run(_probe(command, offline=True), check=False, env=environ, capture_output=True).returncode


def _probe(command: list[str], *, offline: bool = False) -> list[str]:
    return [*command[:2], *(["--offline"] if offline else []), *command[2:], "-c", ""]


def home(entry: Entry) -> dict[str, str]:
    """Return in words ``where`` the backend would run, and the ``version`` of its framework there."""
    from importlib import metadata

    if entry.lock is None:
        return {"where": "current interpreter", "version": "plug-in"}
    if entry.imports and entry.importable():
        packages = sorted(set(metadata.packages_distributions().get(entry.imports[0], ())))
        return {"where": "current interpreter", "version": metadata.version(packages[0]) if packages else "unknown"}
    versions = (
        line.split(";")[0].split("==")[1].strip()
        for line in entry.lock.read_text().splitlines()
        if line.startswith((f"{entry.name}==", f"{entry.name}-cpu=="))
    )
    exists = _cached(_uv_command(entry.lock), _uv_environ(""))
    return {
        "where": "own environment, " + ("built" if exists else "not built yet"),
        "version": next(versions, "plug-in"),
    }
