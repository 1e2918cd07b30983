"""What a worker and the processes that it starts print: read at once, and kept in part."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

FIRST, LAST = 1 << 12, 1 << 16
"""The numbers of bytes that are kept of the beginning and of the end of what is printed."""
_CHUNK = 1 << 16


class Output:
    """A named pipe at ``path``, from which a thread reads all the time: nobody who writes to it has to wait.

    Nothing is written to a disk, and of more than ``FIRST`` + ``LAST`` bytes those in the middle are forgotten. Any
    process may write, also one that outlives this object.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._first = self._last = b""
        self._forgotten = 0
        self._lock = threading.Lock()
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # without a writer the thread could not wait
        self._closing = False
        self._thread = threading.Thread(target=self._drain, daemon=True)
        with uninterrupted():
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing

    def take(self) -> str:
        """Return what was written since the last call, and forget it."""
        for _ in range(64):  # not for ever, if somebody goes on writing
            if self._closing or not self._read():
                break
        with self._lock:
            text = self._first + (b"\n[...]\n" if self._forgotten else b"") + self._last
            self._first, self._last, self._forgotten = b"", b"", 0
        return text.decode(errors="replace")

    def close(self) -> None:
        """Stop reading. Further calls do nothing."""
        if self._closing:
            return
        self._closing = True
        with suppress(BlockingIOError):  # a full pipe wakes the thread too
            os.write(self._writer, b"\n")
        self._thread.join()
        os.close(self._writer)
        os.close(self._reader)

    def _drain(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while not self._closing:
            poll.poll()
            self._read()

    def _read(self) -> bool:
        """Keep some of what is in the pipe, and return whether there was anything."""
        with self._lock:
            try:
                data = os.read(self._reader, _CHUNK)
            except BlockingIOError:
                return False
            room = FIRST - len(self._first)
            self._first, rest = self._first + data[:room], self._last + data[room:]
            self._forgotten += max(0, len(rest) - LAST)
            self._last = rest[-LAST:]
            return bool(data)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let every signal, such as that of Ctrl-C, wait until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
