"""A command in a process of its own, and all processes that come from it, found by a variable that they inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

VGG = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
open("begun", "w").close()
from vgg.__main__ import run
sys.exit(run())
"""
"""``vgg``, which heeds Ctrl-C and a closed terminal also where background jobs ignore them."""
MARK = "VGG_ATTACK"
TARGETS = ("parent", "worker", "uv", "launcher")


class Command:
    """``vgg`` with ``arguments`` in the folder ``home``, whose subfolder ``tmp`` is its folder for temporary files."""

    def __init__(self, home: Path, arguments: Sequence[str], plugins: str, program: str = VGG) -> None:
        self.token = uuid.uuid4().hex
        self.started = time.time_ns()
        self.said, self.begun, self.tmp = home / "said", home / "begun", home / "tmp"
        self.begun.unlink(missing_ok=True)
        environ = {**os.environ, MARK: self.token, "TMPDIR": str(self.tmp), "PYTHONPATH": plugins}
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, *arguments],
                cwd=home,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the command has not ended."""
        return self.process.poll() is None

    def members(self) -> list[int]:
        """Return the processes that come from the command, itself among them, except those that have ended."""
        mark = f"{MARK}={self.token}".encode()
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if mark in _read(path / "environ").split(b"\0")]

    def find(self, target: str, random: Random) -> int | None:
        """Return a process of this kind, or None when there is none."""
        kinds: dict[str, Callable[[int], bool]] = {
            "parent": lambda pid: pid == self.process.pid,
            "worker": lambda pid: _is_worker(pid) and not _is_launcher(pid),
            "launcher": _is_launcher,
            "uv": lambda pid: _program(pid) == "uv",
        }
        if target == "parent":
            return self.process.pid
        fitting = [pid for pid in self.members() if kinds[target](pid)]
        return random.choice(fitting) if fitting else None

    def end(self, seconds: float) -> bool:
        """Wait for the command to end. Where it does not, end it by force and return False."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def survivors(self, seconds: float) -> list[str]:
        """Return what still runs after so many ``seconds``, and end it by force."""
        pids = self._left(seconds)
        lines = [f"{pid} {_read(Path(f'/proc/{pid}/cmdline')).replace(bytes(1), b' ').decode()[-200:]}" for pid in pids]
        for pid in pids:
            send(pid, signal.SIGKILL)
        self.process.wait()
        self._left(5)
        return lines

    def _left(self, seconds: float) -> list[int]:
        until = time.monotonic() + seconds
        while (pids := self.members()) and time.monotonic() < until:
            time.sleep(0.02)
        return pids


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, unless it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _is_worker(pid: int) -> bool:
    return b"vgg.worker" in _read(Path(f"/proc/{pid}/cmdline")).split(b"\0") and _program(pid).startswith("python")


def _is_launcher(pid: int) -> bool:
    return _is_worker(pid) and b"torch.distributed.run" in _read(Path(f"/proc/{pid}/cmdline")).split(b"\0")
