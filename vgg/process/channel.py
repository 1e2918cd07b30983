"""The process of a worker, and the messages to it and from it. It may die, hang, or write anything at any time."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..core.errors import VGGError, mismatch
from ..core.texts import printable, shortened
from . import wire
from .output import Output, uninterrupted

BACKLOG = 64
"""The number of messages that may wait for the client. A worker that sends more has to wait."""
LINES, WIDTH = 15, 300
"""The numbers of lines, and of characters in a line, of what the process printed last that an error shows."""
Message = tuple[dict[str, Any], wire.Arrays]


class Channel:
    """A process that runs ``command``, to which the path of a file to print to is added.

    That file is in the folder ``home``. ``printed`` is what the process prints there, ``log`` its standard error, and
    ``violation`` says what it sent that is not a message, for which it was killed.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], home: Path) -> None:
        self._inbox: queue.Queue[Message | None] = queue.Queue(BACKLOG)
        self._awaited, self._most = False, 0.0
        self.violation = ""
        with ExitStack() as stack:
            self.printed, self.log = (stack.enter_context(Output(home / name)) for name in ("printed", "log"))
            with self.log.path.open("wb", buffering=0) as log:
                self.process = subprocess.Popen(
                    [*command, str(self.printed.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environ,
                    start_new_session=True,
                )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            stack.callback(self._end)
            with uninterrupted():  # an exception in ``start`` leaves a thread that nobody can wait for
                self._watcher.start()
                self._reader.start()
            self._resources = stack.pop_all()

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process and every process that it started. Further calls do nothing."""
        self._resources.close()

    def send(self, head: Mapping[str, Any], arrays: Mapping[str, Any] | None, most: float) -> None:
        """Send a message, whose answer may have arrays of ``most`` bytes. Raises ``BrokenPipeError`` when it cannot."""
        stdin = cast("BinaryIO", self.process.stdin)
        if stdin.closed:
            raise BrokenPipeError
        self._awaited, self._most = True, most
        wire.send(stdin, head, arrays)

    def receive(self, timeout: float) -> Message:
        """Return the next message.

        Raises ``queue.Empty`` when there is none for ``timeout`` seconds, and ``EOFError`` when there will be no more.
        """
        message = self._inbox.get(timeout=timeout)
        if message is None:
            raise EOFError
        return message

    def kill(self) -> None:
        """Kill the process and its group."""
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: on macOS, when only zombies are left
            os.killpg(self.process.pid, signal.SIGKILL)

    def fate(self, timeout: float) -> str:
        """Return how the process ended; if it does not end for ``timeout`` seconds, that it only fell silent."""
        try:
            return f"its process {_fate(self.process.wait(timeout))}"
        except subprocess.TimeoutExpired:
            return "closed its end of the pipe; killed it"

    def last_words(self) -> str:
        """Return the last lines that the process printed, each after a line break and a bar."""
        lines = (self.printed.take() + self.log.take()).strip().splitlines()[-LINES:]
        return "".join(f"\n  | {shortened(printable(line), WIDTH)}" for line in lines)

    def _read(self) -> None:
        with cast("BinaryIO", self.process.stdout) as stream:
            try:
                while True:
                    self._inbox.put(self._message(stream))
            except EOFError:
                pass
            except Exception as error:  # noqa: BLE001 - the process may write anything
                self.violation = _violation(error)
                self.kill()
        self._inbox.put(None)

    def _message(self, stream: BinaryIO) -> Message:
        message = wire.receive(stream, lambda: self._most)
        if not self._awaited:
            raise mismatch("message", "one between two jobs", "none")
        self._awaited = "event" in message[0]
        return message

    def _watch(self) -> None:
        """Kill the processes that the worker started when it ends.

        A forked child would hold the pipe open, and nobody would notice the worker's death.
        """
        self.process.wait()
        self.kill()

    def _end(self) -> None:
        """Close the worker's input, on which it exits; after two seconds, kill what is left."""
        with suppress(BrokenPipeError):
            cast("BinaryIO", self.process.stdin).close()
        if self._watcher.ident is None:  # interrupted before it was started
            self._watcher.start()
        self._watcher.join(timeout=2)
        if self._watcher.is_alive():  # otherwise another process may have its number by now
            self.kill()
            self._watcher.join()
        deadline = time.monotonic() + 1  # a process that left the group may hold the pipe open
        while self._reader.is_alive() and time.monotonic() < deadline:
            with suppress(queue.Empty):  # the reader may wait until there is room
                self._inbox.get(timeout=0.05)


def _violation(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "sent more than there is memory for; killed it"
    reason = str(error) if isinstance(error, VGGError) else f"{type(error).__name__}: {error}"
    return f"sent something that is not a message ({shortened(printable(reason), WIDTH)}); killed it"


def _fate(code: int) -> str:
    import resource  # Windows has none

    names = [s.name for s in signal.Signals if s == -code]
    scarce = "memory" if resource.getrlimit(resource.RLIMIT_CPU)[1] == resource.RLIM_INFINITY else "memory or CPU time"
    reason = f", as systems do when they have run out of {scarce}" if -code == signal.SIGKILL else ""
    return f"was killed by {names[0]}{reason}" if names else f"exited with status {code}"
