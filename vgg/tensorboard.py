"""A run's metrics as TensorBoard event files, written by tensorboardX (the extra ``tensorboard``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from .errors import VGGError

Write = Callable[[dict[str, Any]], None]
NAMES = {"loss", "lr", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"}


def writer(folder: Path) -> AbstractContextManager[Write]:
    """Writes events of training into ``folder``; ``VGGError`` at once where tensorboardX is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise VGGError(f"--tensorboard: got {error}, wanted tensorboardX; pip install 'vgg[tensorboard]'") from error
    return _writing(SummaryWriter, folder)


@contextmanager
def _writing(make: Any, folder: Path) -> Iterator[Write]:
    files: list[Any] = []

    def write(event: dict[str, Any]) -> None:
        if event and not files:  # what an earlier process wrote of this step and later ones is to be forgotten
            files.append(make(str(folder), purge_step=event["number"]))
        for name in event.keys() & NAMES:
            files[0].add_scalar(name, event[name], event["number"])

    try:
        yield write
    finally:
        for file in files:
            file.close()
