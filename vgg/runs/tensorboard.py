"""A run's metrics as TensorBoard event files, written by tensorboardX (the extra ``tensorboard``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..core.errors import VGGError
from ..core.files import unwritable

Write = Callable[[dict[str, Any]], None]
NAMES = {"loss", "lr", "training_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"}


def writer(folder: Path) -> AbstractContextManager[Write]:
    """Return a context manager that gives a function, which writes one event of training to ``folder``.

    Raises ``VGGError`` when tensorboardX is not installed. The function raises ``VGGError`` when the disk is full.
    """
    try:
        from tensorboardX import event_file_writer
    except ImportError as error:
        raise VGGError(f"--tensorboard: got {error}, wanted tensorboardX; pip install 'vgg[tensorboard]'") from error
    return _writing(event_file_writer.EventsWriter, folder)


@contextmanager
def _writing(make: Any, folder: Path) -> Iterator[Write]:
    """Write synchronously: on a full disk the thread of tensorboardX's ``SummaryWriter`` dies and its writers wait."""
    files: list[Any] = []

    def write(event: dict[str, Any]) -> None:
        if not event:
            return
        try:
            if not files:
                folder.mkdir(exist_ok=True)
                files.append(make(str(folder / "events")))
                files[0].write_event(_forget(event["number"]))
            files[0].write_event(_scalars(event))
            files[0].flush()
        except OSError as error:
            raise unwritable(folder, error) from error

    try:
        yield write
    finally:
        for file in files:
            with suppress(OSError):  # ``write`` has raised it already
                file.close()


def _forget(step: int) -> Any:
    """Return an event that makes TensorBoard drop what an earlier process wrote for this step and later ones."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    return Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))


def _scalars(event: dict[str, Any]) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=event[name]) for name in sorted(event.keys() & NAMES)]
    return Event(wall_time=time.time(), step=event["number"], summary=Summary(value=values))
