"""The worker process: it does the jobs that arrive on its standard input, one after another.

What a framework prints goes to a file or a pipe of the client's; a process that the framework starts inherits neither
standard input nor standard output.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..core import replicas
from ..core.errors import ContractError, VGGError
from ..core.texts import shortened
from ..process import ranks, wire
from .session import Session

if TYPE_CHECKING:
    from io import TextIOWrapper

LONGEST = 100_000
"""The greatest number of characters of an error, and of its traceback. The client shows fewer."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Do jobs until standard input ends. A second thread waits for that end, so a worker never outlives its client."""
    group = replicas.group()
    requests, replies, followers = _streams(group, os.environ.get(replicas.PIPES))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(_writing(sys.argv[2]), 1)
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    if group.processes == 1:  # a cluster sends SIGTERM to every process; the client reacts to it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    jobs: queue.Queue[tuple[dict[str, Any], wire.Arrays]] = queue.Queue()
    session: Session | None = None
    stop = threading.Event()
    threading.Thread(target=_read, args=(requests, jobs, stop, followers), daemon=True).start()
    while True:
        head, arrays = jobs.get()
        try:
            session = session or Session(sys.argv[1], lambda event: wire.send(replies, {"event": event}), stop.is_set)
            result, out = getattr(session, head["job"])(arrays, **head["arguments"])
            _flush()
            wire.send(replies, {"result": result}, out)
        except BaseException as error:  # noqa: BLE001 - a backend's sys.exit and Ctrl-C are failures of the job
            if group.rank:
                traceback.print_exc()  # nobody reads the replies of this process
            alone = group.processes == 1 or isinstance(error, VGGError)
            if not alone:
                _await_the_launcher(group.rank)
            _flush()
            reply = {"error": shortened(described(error), LONGEST), "refused": refuses(error)}
            wire.send(replies, {**reply, "traceback": shortened(traceback.format_exc(), LONGEST)})
            if not alone:
                os._exit(1)  # other processes may wait for this one for ever


def _writing(path: str) -> int:
    """Open the client's pipe or file for writing. This process ends if the client has died, which reads the pipe."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)  # else it waits for a reader
    except OSError:
        sys.exit("the client is gone")
    os.set_blocking(descriptor, True)
    return descriptor


def _flush() -> None:
    """Flush standard output in Python and in C, so that what a job printed is not taken for the next job's output."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)


def _await_the_launcher(rank: int) -> None:
    """Wait before an error ends this process.

    If the death of another process caused the error, the launcher ends this process meanwhile and reports that death.
    If not, the first process answers before the others end and take it with them.
    """
    time.sleep(2 if rank else 1)


def _streams(group: replicas.Group, pipes: str | None) -> tuple[BinaryIO, BinaryIO, list[Path]]:
    """Return (stream of jobs, stream of replies, pipes to which jobs are passed on).

    If ``pipes`` is set, a launcher started this process in a session of its own. On Linux it then ends with the
    launcher.
    """
    if pipes:
        with suppress(AttributeError):  # only Linux has prctl
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if pipes and group.rank:
        return ranks.pipe(pipes, group.rank).open("rb"), Path(os.devnull).open("wb"), []
    followers = [ranks.pipe(pipes, rank) for rank in range(1, group.processes)] if pipes else []
    return os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"), followers


def described(error: BaseException) -> str:
    """Return the text of an error for the client: a ``VGGError``'s message, or the exception's name and message."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r})"
    if isinstance(error, VGGError):
        return str(error)
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the backend's own class
        return f"{type(error).__name__}, whose message cannot be read"


def refuses(error: BaseException) -> bool:
    """Return whether ``error`` refuses the job, and does not mean that the backend failed."""
    return isinstance(error, VGGError) and not isinstance(error, ContractError)


def _read(
    stream: BinaryIO,
    jobs: queue.Queue[tuple[dict[str, Any], wire.Arrays]],
    stop: threading.Event,
    followers: list[Path],
) -> None:
    """Put every job into ``jobs`` and pass it on to the ``followers``, until ``stream`` ends; then end this process.

    The job to stop sets ``stop`` instead, because it must overtake the job that is being done. It is not passed on: the
    first process writes the checkpoint, and the others end with it.
    """
    try:
        pipes = [follower.open("wb") for follower in followers]
        while True:
            head, arrays = wire.receive(stream)
            if head["job"] == "stop":
                stop.set()
                continue
            for pipe in pipes:
                wire.send(pipe, head, arrays)
            jobs.put((head, arrays))
    except EOFError:
        os._exit(0)
    except BaseException:  # noqa: BLE001 - if this thread ended silently, the client would wait for ever
        traceback.print_exc()
        os._exit(1)
