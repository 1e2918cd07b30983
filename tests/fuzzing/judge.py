"""One input, read within bounds, and everything that is wrong with what happened."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import stat
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from vgg import VGGError

from .base import Fuzzer, UnsoundError, printed

SECONDS = float(os.environ.get("VGG_FUZZ_SECONDS", "4"))
"""A reader that takes longer, of the processor's time or waiting, hangs."""
BYTES = 1 << 30
"""Memory that a reader may take."""
LINES, CHARACTERS = 4, 1500
"""The longest message: a few lines on a terminal, and room for the path of a file."""
TAIL = "\n  | "
"""How lines begin that a worker printed."""
Snapshot = dict[str, tuple[object, ...]]


class HangError(BaseException):
    """A reader took too long."""


def judge(fuzzer: Fuzzer, random: Random, home: Path) -> dict[str, str] | None:
    """Return what is wrong with how the program treats one input, or None."""
    folder = home / "input"
    folder.mkdir()
    around = {path.name for path in home.iterdir()}
    fuzzer.make(random, folder)
    before = snapshot(folder)
    fault = _outcome(fuzzer, folder) or _changes(fuzzer, before, snapshot(folder))
    fault = fault or _strays(home, around)
    shutil.rmtree(folder)
    return fault


def _outcome(fuzzer: Fuzzer, folder: Path) -> dict[str, str] | None:
    try:
        with bounded():
            fuzzer.read(folder)
    except VGGError as error:
        return _message(error)
    except HangError as error:
        return {"what": "hang", "where": _where(error)}
    except UnsoundError as error:
        return {"what": str(error), "where": ""}
    except BaseException as error:  # noqa: BLE001 - any other end is what is looked for
        return {"what": f"{type(error).__name__}: {error}"[:200], "where": _where(error)}
    return None


def _message(error: VGGError) -> dict[str, str] | None:
    """Complain of what a command would print about ``error``, unless it is short and harmless."""
    text = str(error)
    if fits(text):
        return None
    text = printed(error)
    what = f"a message of {len(text)} characters: {text[:150]!r}"
    return None if fits(text) else {"what": what, "where": _where(error)}


def fits(text: str) -> bool:
    """Return whether a message has few lines, besides those of a worker, and nothing that steers a terminal."""
    own = text.split(TAIL, 1)[0]
    few = len(own.splitlines()) <= LINES and len(own) <= CHARACTERS and len(text) <= 10 * CHARACTERS
    return few and all(c.isprintable() or c == "\n" for c in own)


def _where(error: BaseException) -> str:
    """Return the innermost function of the program on the way to ``error``."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/vgg/" in f.filename]
    return f"{frames[-1].filename.rpartition('/vgg/')[2]}: {frames[-1].name}" if frames else ""


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the time and the memory of the block."""
    start = time.process_time()

    def late(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGPROF or time.process_time() - start < SECONDS / 8:  # else the machine is busy
            raise HangError

    old = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, old[1]))
    try:
        for number, timer, seconds in (
            (signal.SIGPROF, signal.ITIMER_PROF, SECONDS),
            (signal.SIGALRM, signal.ITIMER_REAL, SECONDS),
        ):
            signal.signal(number, late)
            signal.setitimer(timer, seconds, SECONDS / 4)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, old)


def snapshot(folder: Path) -> Snapshot:
    """Return what is at every path below ``folder``."""
    return {str(path.relative_to(folder)): _state(path) for path in folder.rglob("*")}


def _state(path: Path) -> tuple[object, ...]:
    about = path.lstat()
    if stat.S_ISDIR(about.st_mode):
        return (about.st_mode,)
    content = path.read_bytes() if stat.S_ISREG(about.st_mode) and about.st_size < 1 << 20 else b""
    target = path.readlink() if path.is_symlink() else ""
    return about.st_mode, about.st_size, hashlib.sha256(content).hexdigest(), target


def _changes(fuzzer: Fuzzer, before: Snapshot, after: Snapshot) -> dict[str, str] | None:
    wrong = sorted(path for path in before if after.get(path) != before[path] and not fuzzer.owns(path))
    if not wrong:
        return None
    return {"what": f"{'changed' if wrong[0] in after else 'removed'} a file of the user", "where": wrong[0]}


def _strays(home: Path, around: set[str]) -> dict[str, str] | None:
    """Complain of what was left beside the input, and remove it."""
    paths = sorted(path for path in home.iterdir() if path.name not in around) + sorted((home / "tmp").iterdir())
    for path in paths:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return {"what": "left a file", "where": str(paths[0].relative_to(home))} if paths else None
