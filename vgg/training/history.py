"""The history of a run, ``metrics.jsonl``: one row per training step, and one per evaluation after each epoch."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core import files
from ..core.errors import VGGError, mismatch
from .batches import Place, Steps
from .clock import Step, speed

Row = dict[str, Any]
NAME, CUT = "metrics.jsonl", "metrics.jsonl.cut"
"""The file of the rows; and the file of those that a resumed run takes again, which keeps them as they were."""
_DO = "put the file back, or start a new run from a checkpoint by --init-from"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # no NaN, and no integer beyond it


_Fields = dict[str, tuple[str, Callable[[Any], bool]]]
_PLACE: _Fields = {"epoch": ("an integer >= 0", lambda value: type(value) is int and value >= 0)}
_STEP: _Fields = {
    **_PLACE,
    "step": ("an integer >= 0", lambda value: type(value) is int and value >= 0),
    "loss": ("a number", _number),
    "lr": ("a number", _number),
    "seconds": ("a number >= 0", lambda value: _number(value) and value >= 0),
}
_EVALUATION: _Fields = {
    **_PLACE,
    "epoch_seconds": ("a number >= 0, or null", lambda value: value is None or (_number(value) and value >= 0)),
}
_RESULTS = ("_loss", "_accuracy")


def read(path: Path) -> list[Row]:
    """Read all rows of a file. Raises ``VGGError``, which names the line and the field, when one is not a row."""
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(_lines(path), 1)]


def _lines(path: Path) -> list[bytes]:
    files.check_kind(path)
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise VGGError(f"{path}: cannot be read ({error.strerror}); {_DO}") from error


def _row(line: bytes, where: str) -> Row:
    """Return the row in a line. Raises ``VGGError`` when a field that every version wrote is wrong or missing."""
    try:
        row = json.loads(line.decode())  # of bytes json would also read UTF-16, and a byte order mark
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise mismatch(where, repr(line[:40])[1:], "a row as a JSON object", _DO)
    wanted = _STEP if "step" in row else _EVALUATION
    results = {name: ("a number", _number) for name in row if "step" not in row and name.endswith(_RESULTS)}
    for name, (kind, fits) in (wanted | results).items():
        if not fits(row.get(name)):
            raise mismatch(f"{where}: {name}", repr(row[name])[:60] if name in row else "nothing", kind, _DO)
    return row


class History:
    """The rows of a run up to a place, its file, and what they say: mean losses, accuracies and speeds.

    ``evaluation`` is the name of the images that an epoch is evaluated on: validation or test.
    """

    def __init__(self, run: Path, steps: Steps, evaluation: str) -> None:
        self.path, self.steps, self.evaluation = run / NAME, steps, evaluation
        self.rows: list[Row] = []
        self._text, self._rest = b"", b""

    def load(self, place: Place) -> None:
        """Read the rows before ``place``, which is that of a checkpoint or (0, 0).

        Raises ``VGGError`` when one of them is missing or not what belongs at its place, and when ``place`` is (0, 0)
        although the run has gone beyond its first epoch: its checkpoints are lost, or it kept none.
        """
        count = self.steps.before(place) + place[0]
        lines = _lines(self.path) if count or self.path.exists() else []
        if place == (0, 0) and len(lines) > self.steps.per_epoch + 1:
            raise lost(self.path.parent, f"{len(lines)} rows of metrics and no checkpoint")
        if len(lines) < count:
            raise mismatch(str(self.path), f"{len(lines)} rows", f"{count}, those before the checkpoint", _DO)
        self.rows = [self._expected(line, number) for number, line in enumerate(lines[:count])]
        self._text = b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines[:count])
        self._rest = b"".join(lines[count:])

    def _expected(self, line: bytes, number: int) -> Row:
        """Return the row in line ``number``, counted from 0. Raises ``VGGError`` unless it is the one of its place."""
        where, (epoch, step) = f"{self.path}, line {number + 1}", divmod(number, self.steps.per_epoch + 1)
        row, last = _row(line, where), step == self.steps.per_epoch
        wanted = {"epoch": epoch} if last else {"epoch": epoch, "step": step}
        for name, value in wanted.items():
            if row.get(name) != value:
                raise mismatch(f"{where}: {name}", row.get(name, "nothing"), value, _DO)
        if last and ("step" in row or not all(self.evaluation + part in row for part in _RESULTS)):
            fields = f"the fields {', '.join(row)}"[:80]
            raise mismatch(where, fields, f"the {self.evaluation} after epoch {epoch + 1}", _DO)
        return row

    def begin(self) -> None:
        """Cut the file back to the rows that were loaded; append the rest to ``metrics.jsonl.cut``, as it was."""
        if self._rest:
            with self.path.with_name(CUT).open("ab") as aside:
                aside.write(self._rest if self._rest.endswith(b"\n") else self._rest + b"\n")
                os.fsync(aside.fileno())
        files.write_atomically(self.path, self._text)

    def append(self, row: Row) -> None:
        """Write one row at the end of the file. Raises ``VGGError`` when that is not possible."""
        try:
            with self.path.open("a") as metrics:
                metrics.write(json.dumps(row) + "\n")
        except OSError as error:
            raise files.unwritable(self.path, error) from error

    def digest(self) -> str:
        """Return the SHA-256 of the rows."""
        return hashlib.sha256(json.dumps(self.rows).encode()).hexdigest()

    def sync(self) -> None:
        """Make the rows durable: after a power failure there must be no checkpoint without them."""
        with self.path.open("rb") as metrics:
            os.fsync(metrics.fileno())

    def training_loss(self, epoch: int) -> float:
        """Return the mean of an epoch's losses per image, as each was before its step."""
        rows = [row for row in self._steps() if row["epoch"] == epoch]
        images = [self.steps.images(row["step"]) for row in rows]
        return float(np.average([row["loss"] for row in rows], weights=images))

    def accuracies(self) -> list[float]:
        """Return the validation accuracies of the epochs so far."""
        return [row["validation_accuracy"] for row in self.rows if "validation_accuracy" in row]

    def summary(self, starts: Sequence[int]) -> dict[str, Any]:
        """Return the first loss, the mean loss of the last epoch, and speeds.

        ``starts`` are the numbers of steps that were behind the run when each of its processes began. Speeds are those
        of the steps since the first of these, if there are any.
        """
        steps = list(self._steps())
        own = steps[starts[0] :] or steps
        times = [(row["epoch"], row.get("epoch_seconds")) for row in self.rows]
        epochs = [seconds for epoch, seconds in times if seconds and epoch >= own[0]["epoch"]]
        losses = {"first_loss": steps[0]["loss"], "last_loss": self.training_loss(steps[-1]["epoch"])}
        return {**losses, **speed(list(self._timed(own, starts)), epochs)}

    def _steps(self) -> Iterator[Row]:
        return (row for row in self.rows if "step" in row)

    def _timed(self, rows: Iterable[Row], starts: Collection[int]) -> Iterator[Step]:
        sizes = set[int]()
        for row in rows:
            if self.steps.before((row["epoch"], row["step"])) in starts:
                sizes.clear()
            images = self.steps.images(row["step"])
            yield Step(images, row["seconds"], images not in sizes)
            sizes.add(images)


def lost(run: Path, got: str) -> VGGError:
    """Return the error for a run that has a history, which ``got`` describes, and no checkpoint to go on from."""
    do = "put its checkpoints back, or start a new run with another --out"
    return mismatch(str(run), got, "a checkpoint to go on from", do)
