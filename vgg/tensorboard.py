"""A run's metrics as TensorBoard event files, written by tensorboardX (the extra ``tensorboard``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import VGGError

NAMES = {"loss", "lr", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"}


@contextmanager
def event_files(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Writes events of training into ``folder``."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise VGGError(f"--tensorboard: got {error}, wanted tensorboardX; pip install 'vgg[tensorboard]'") from error

    with SummaryWriter(str(folder)) as writer:

        def write(event: dict[str, Any]) -> None:
            for name in event.keys() & NAMES:
                writer.add_scalar(name, event[name], event["number"])

        yield write
