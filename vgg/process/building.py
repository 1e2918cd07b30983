"""Environments on disk: one folder per lock file, built by uv from packages whose hashes the lock file names."""

from __future__ import annotations

import atexit
import csv
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..core import limits
from ..core.errors import UnavailableError, mismatch
from ..core.files import cache, read_text, unwritable
from . import sources
from .registry import Entry

PYTHON = "3.11"
"""The Python of the lock files. MXNet 1.9.1 needs NumPy 1.23, which has no wheels for a later Python."""
_HELD: dict[Path, IO[str]] = {}
"""The open lock of every environment that this process uses, until it ends: nobody else removes one meanwhile."""
_TAIL = 6
"""The number of uv's last lines that an error shows."""


@dataclass(frozen=True)
class Environment:
    """An environment, built or not: its ``name``, its lock file (None if no backend has it any more), its folder."""

    name: str
    lock: Path | None
    folder: Path

    @property
    def python(self) -> Path:
        """The path of its interpreter."""
        return self.folder / "bin" / "python"

    def exists(self) -> bool:
        """Return whether it is built. One whose interpreter has been removed is not."""
        return self.python.exists()

    def hold(self) -> bool:
        """Return whether it is built. If it is, no other process can remove it while this one lives."""
        if self.exists() and self.folder not in _HELD:
            _HELD[self.folder] = _locked(self.folder, wait=True)
        return self.exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Enter when no other process uses or builds it. Raises ``BlockingIOError`` when one does."""
        if self.folder in _HELD:
            _HELD.pop(self.folder).close()
        with _locked(self.folder, alone=True):
            for rest in self.folder.parent.glob(f".{self.folder.name}.*"):  # of a process that was killed
                shutil.rmtree(rest, ignore_errors=True)
            yield

    def size(self) -> int:
        """Return the bytes that it takes on the disk. A file with several names counts once.

        What links lead to does not count, nor do files that another process removes meanwhile.
        """
        blocks = dict[int, int]()
        for folder, _, names in os.walk(self.folder) if not self.folder.is_symlink() else ():
            for path in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - many files
                with suppress(OSError):
                    about = os.lstat(path)
                    blocks[about.st_ino] = about.st_blocks
        return 512 * sum(blocks.values())


def root() -> Path:
    """Return the folder of all environments, which may not exist yet."""
    return cache() / "envs"


def environments(entry: Entry) -> list[Environment]:
    """Return the environments that serve ``entry``, the best first, built or not.

    A lock file of the same name in the folder ``VGG_LOCKS`` takes the place of vgg's own. Raises ``VGGError`` when a
    lock file cannot be read, or ``VGG_LOCKS`` is not a folder.
    """
    return [_environment(entry, lock) for lock in entry.locks()]


def _environment(entry: Entry, lock: Path) -> Environment:
    folder = os.environ.get("VGG_LOCKS")
    if folder and not Path(folder).expanduser().is_dir():
        raise mismatch("VGG_LOCKS", repr(folder), "a folder with lock files", "see docs/backends.md")
    theirs = Path(folder, lock.name).expanduser().absolute() if folder else lock
    lock = theirs if theirs.is_file() else lock
    package = entry.module.partition(".")[0]
    name = entry.name + lock.stem.removeprefix(package) if lock.stem.startswith(package) else lock.stem
    return Environment(name, lock, root() / f"{name}-{_key(lock)}")


def _key(lock: Path) -> str:
    """Return twelve characters that differ wherever the environment of the lock file would."""
    system = f"{PYTHON} {platform.system()} {platform.machine()}\n"
    return hashlib.sha256(system.encode() + _content(lock)).hexdigest()[:12]


def _content(lock: Path, *including: Path) -> bytes:
    """Return the text of a lock file and of those that it includes. Those ``including`` it led there.

    Raises ``VGGError`` when one cannot be read as text, or includes itself.
    """
    if lock in including:
        raise mismatch(str(lock), "a lock file that includes itself", "one that does not", "take out the line with -r")
    text = read_text(lock, "a lock file", limits.DOCUMENT)
    included = [line[2:].strip() for line in text.splitlines() if line.startswith("-r")]
    return text.encode() + b"".join(_content(lock.parent / name, *including, lock) for name in included)


def build(environment: Environment) -> None:
    """Build ``environment``, or wait for the process that builds it.

    Raises ``UnavailableError`` when uv cannot build it.
    """
    try:
        with environment.alone():
            if not environment.exists():
                rebuild(environment)
    except BlockingIOError:
        print(f"{environment.name}: waits for the process that builds its environment", file=sys.stderr, flush=True)
        _locked(environment.folder, wait=True).close()
        if not environment.exists():
            raise _failure(environment) from None


def rebuild(environment: Environment, *, quiet: bool = True) -> None:
    """Build ``environment`` aside, then let it take the place of the one that exists. The caller is alone in it.

    Nothing is shared with uv's cache: a file that is damaged there, or here, stays alone. What uv says is shown on a
    terminal, or if not ``quiet``. Raises ``UnavailableError`` when uv cannot build it; the old one then stays.
    """
    print(f"{environment.name}: building its environment from {environment.lock}", file=sys.stderr, flush=True)
    folder = environment.folder
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent, ignore_cleanup_errors=True) as aside:
        _uv(environment, Path(aside), quiet and not sys.stderr.isatty())
        if folder.exists():
            folder.rename(Path(aside, "old"))
        Path(aside, "new").rename(folder)


def _uv(environment: Environment, aside: Path, quiet: bool) -> None:
    """Let uv build the environment in the folder ``new`` below ``aside``."""
    from uv import find_uv_bin

    (aside / "uv.toml").write_text(sources.configuration(), encoding="utf-8")
    uv = [os.fsdecode(find_uv_bin()), "--config-file", "uv.toml", "--cache-dir", "cache"]
    python = sys.executable if platform.python_version().startswith(f"{PYTHON}.") else PYTHON
    venv = ["venv", "--quiet", "--no-project", "--relocatable", "--python", python, "new"]
    verified = ["--require-hashes", "--no-build", "--index-strategy", "unsafe-best-match"]  # hashes make any index safe
    sync = ["pip", "sync", "--python", "new/bin/python", *verified, str(environment.lock)]
    environ, stderr = sources.environ(), subprocess.PIPE if quiet else None
    for command in (venv, sync):
        done = subprocess.run([*uv, *command], check=False, cwd=aside, env=environ, stderr=stderr)
        if done.returncode:
            raise _failure(environment, quiet, (done.stderr or b"").decode(errors="replace"))


def _failure(environment: Environment, quiet: bool = True, said: str = "") -> UnavailableError:
    name = environment.name
    where = f"to see why: vgg env --rebuild {name}" if quiet else "uv says why, above"
    message = f"{name}: its environment could not be built; {where}"
    return UnavailableError("\n  | ".join([message, *said.strip().splitlines()[-_TAIL:]]))


def remove(environment: Environment) -> int:
    """Remove ``environment`` and return the bytes that this frees. Raises ``VGGError`` when that is not possible."""
    size = environment.size()
    try:
        shutil.rmtree(environment.folder)
    except OSError as error:
        raise unwritable(environment.folder, error) from error
    return size


def damage(environment: Environment, imports: Sequence[str]) -> str:
    """Return in one line how a built environment is damaged, or an empty text.

    Every installed file must have its size; NumPy, safetensors and the packages ``imports`` must be importable.
    """
    for site in environment.folder.glob("lib/python*/site-packages"):
        for record in sorted(site.glob("*.dist-info/RECORD")):
            for name, _, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
                if wrong := _wrong(site / name, size):
                    return wrong
    modules = ", ".join(["numpy", "safetensors.numpy", *imports])
    command = [str(environment.python), "-I", "-c", f"import {modules}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    return (
        (done.stderr.strip().splitlines() or [f"importing {modules} ends its process"])[-1] if done.returncode else ""
    )


def _wrong(file: Path, size: str) -> str:
    if not file.exists():
        return f"{file} is missing"
    got = file.stat().st_size
    return f"{file}: got {got} bytes, wanted {size}" if size and got != int(size) else ""


@atexit.register
def _let_go() -> None:
    """Close every held lock, which Python would warn of otherwise."""
    while _HELD:
        _HELD.popitem()[1].close()


def _locked(folder: Path, *, alone: bool = False, wait: bool = False) -> IO[str]:
    """Return the open lock of an environment's folder, which several processes may hold unless one is ``alone``."""
    import fcntl  # Windows has none

    path = folder.with_name(f"{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        file.close()
        raise
    return file
