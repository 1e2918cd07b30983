"""``metrics.jsonl`` as it is, torn, edited and foreign; and means over its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgg import VGGError
from vgg.training.batches import Place, Steps
from vgg.training.history import CUT, NAME, History, read

STEPS = Steps(20, 8)
PLACES = [(epoch, step) for epoch in range(3) for step in (0, 1, 2, None)]


def row(place: tuple[int, int | None], name: str = "test") -> dict[str, Any]:
    epoch, step = place
    if step is None:
        return {"epoch": epoch, f"{name}_loss": 2.0, f"{name}_accuracy": 0.5, "epoch_seconds": 1.5}
    return {"epoch": epoch, "step": step, "loss": 3.0 - epoch - step / 4, "lr": 0.1, "seconds": 0.25}


ROWS = [row(place) for place in PLACES]
LINES = [json.dumps(row).encode() + b"\n" for row in ROWS]


def load(run: Path, lines: list[bytes], place: Place = (2, 1)) -> History:
    (run / NAME).write_bytes(b"".join(lines))
    history = History(run, STEPS, "test")
    history.load(place)
    return history


@pytest.mark.parametrize(
    ("place", "count"), [((1, 0), 4), ((1, 2), 6), ((1, 3), 7), ((2, 0), 8), ((2, 1), 9), ((3, 0), 12)]
)
def test_the_rows_before_a_place_are_kept_and_the_rest_is_set_aside(tmp_path: Path, place: Place, count: int) -> None:
    history = load(tmp_path, [*LINES, b'{"epoch": 3, "st'], place)
    assert history.rows == ROWS[:count]
    history.begin()
    assert (tmp_path / NAME).read_bytes() == b"".join(LINES[:count])
    assert (tmp_path / CUT).read_bytes() == b"".join([*LINES[count:], b'{"epoch": 3, "st\n'])


def test_what_is_set_aside_adds_up_and_nothing_makes_no_file(tmp_path: Path) -> None:
    load(tmp_path, LINES[:9]).begin()
    assert not (tmp_path / CUT).exists()
    for _ in range(2):
        load(tmp_path, LINES[:10]).begin()
    assert (tmp_path / CUT).read_bytes() == LINES[9] * 2


def test_a_last_line_without_its_end_is_a_row(tmp_path: Path) -> None:
    history = load(tmp_path, [*LINES[:8], LINES[8].rstrip()])
    history.begin()
    assert (tmp_path / NAME).read_bytes() == b"".join(LINES[:9])


def without(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: {name: value for name, value in row.items() if name not in names}


def having(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda row: {**row, **values}


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (1, lambda _: None, "got 'null.n', wanted a row as a JSON object"),
        (1, lambda row: [row], "wanted a row as a JSON object"),
        (1, lambda _: {}, "line 2: epoch: got nothing, wanted an integer >= 0"),
        (1, without("epoch"), "line 2: epoch: got nothing"),
        (1, having(epoch="0"), "line 2: epoch: got '0', wanted an integer"),
        (1, having(epoch=False), "line 2: epoch: got False, wanted an integer"),
        (1, having(epoch=1), "line 2: epoch: got 1, wanted 0"),
        (1, having(step=2), "line 2: step: got 2, wanted 1"),
        (1, having(step=-1), "line 2: step: got -1, wanted an integer >= 0"),
        (1, having(step=None), "line 2: step: got None, wanted an integer >= 0"),
        (1, without("step"), "line 2: step: got nothing, wanted 1"),
        (1, without("loss"), "line 2: loss: got nothing, wanted a number"),
        (1, having(loss="3"), "line 2: loss: got '3'"),
        (1, having(loss="3" * 10**6), "line 2: loss: got '333"),
        (3, lambda row: {"epoch": 0, **dict.fromkeys("x" * n for n in range(999))}, "line 4: got the fields epoch"),
        (1, having(loss=float("nan")), "line 2: loss: got nan, wanted a number"),
        (1, having(loss=10**400), "line 2: loss: got 1000"),
        (1, having(lr=[]), r"line 2: lr: got \[\]"),
        (1, having(seconds=-1), "line 2: seconds: got -1, wanted a number >= 0"),
        (3, having(epoch=1), "line 4: epoch: got 1, wanted 0"),
        (3, having(step=3), "line 4: loss: got nothing"),
        (3, without("test_accuracy"), "line 4: got the fields .*, wanted the test after epoch 1"),
        (3, lambda row: row | {"validation_loss": row.pop("test_loss")}, "line 4: got the fields"),
        (3, having(test_accuracy=None), "line 4: test_accuracy: got None, wanted a number"),
        (3, having(epoch_seconds="1"), "line 4: epoch_seconds: got '1'"),
    ],
)
def test_a_row_that_is_not_what_belongs_there_is_named(
    tmp_path: Path, number: int, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    lines = [*LINES]
    lines[number] = json.dumps(change(dict(ROWS[number]))).encode() + b"\n"
    with pytest.raises(VGGError, match=message) as error:
        load(tmp_path, lines)
    assert str(tmp_path / NAME) in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "line", [b"\n", b"  \n", b'{"epoch": 0, "st\n', b"\0\0\0\0\n", b"\xff\n", b"[" * 9**6 + b"\n", b"7\n"]
)
@pytest.mark.parametrize("number", [0, 3, 8])
def test_a_blank_torn_or_foreign_line_is_named(tmp_path: Path, number: int, line: bytes) -> None:
    for lines in ([*LINES[:number], line, *LINES[number:]], [*LINES[:number], line, *LINES[number + 1 :]]):
        with pytest.raises(VGGError, match=rf"metrics.jsonl, line {number + 1}: got .*, wanted a row") as error:
            load(tmp_path, lines)
        assert len(str(error.value)) < 400


def test_rows_that_are_gone_are_missed(tmp_path: Path) -> None:
    """Those of the validation, say, without which a plateau's learning rate would be another."""
    with pytest.raises(VGGError, match=r"line 4: epoch: got 1, wanted 0"):
        load(tmp_path, [line for line in LINES if b"test" not in line])
    with pytest.raises(VGGError, match=r"metrics.jsonl: got 8 rows, wanted 9"):
        load(tmp_path, LINES[:8])


@settings(derandomize=True, max_examples=150, deadline=None)
@given(start=st.integers(0, 900), length=st.integers(0, 90), instead=st.binary(max_size=6))
def test_any_edit_is_refused_in_one_line_or_changes_no_row_that_is_kept(
    start: int, length: int, instead: bytes
) -> None:
    text = b"".join(LINES)
    with TemporaryDirectory() as folder:
        message = ""
        try:
            history = load(Path(folder), [text[:start], instead, text[start + length :]])
        except VGGError as error:
            message = str(error)
    if message:
        assert NAME in message
        assert "\n" not in message
    else:
        assert [(row["epoch"], row.get("step")) for row in history.rows] == PLACES[:9]


@pytest.mark.parametrize(("count", "fine"), [(0, True), (1, True), (4, True), (5, False), (12, False)])
def test_a_run_without_a_checkpoint_begins_again_only_within_its_first_epoch(
    tmp_path: Path, count: int, fine: bool
) -> None:
    if not fine:
        with pytest.raises(VGGError, match=rf"got {count} rows of metrics and no checkpoint, wanted a checkpoint"):
            load(tmp_path, LINES[:count], (0, 0))
        return
    load(tmp_path, LINES[:count], (0, 0)).begin()
    assert (tmp_path / NAME).read_bytes() == b""
    assert (tmp_path / CUT).exists() is (count > 0)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("place", [(0, 0), (1, 0)])
def test_a_file_of_another_type_is_named(tmp_path: Path, place: Place, make: Callable[[Path], None]) -> None:
    make(tmp_path / NAME)
    with pytest.raises(VGGError, match=r"metrics.jsonl: got a (directory|pipe), wanted a file; move it elsewhere"):
        History(tmp_path, STEPS, "test").load(place)


def test_read_gives_every_row_or_names_the_first_that_is_none(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"".join(LINES))
    assert read(tmp_path / NAME) == ROWS
    (tmp_path / NAME).write_bytes(LINES[0] + b"\n")
    with pytest.raises(VGGError, match=r"metrics.jsonl, line 2: got"):
        read(tmp_path / NAME)


def test_losses_are_weighed_by_images_and_by_epoch(tmp_path: Path) -> None:
    history = load(tmp_path, LINES, (3, 0))
    for epoch in range(3):
        losses = [ROWS[4 * epoch + step]["loss"] for step in range(3)]
        assert history.training_loss(epoch) == pytest.approx(np.dot(losses, [8, 8, 4]) / 20)
    assert history.summary([0])["last_loss"] == history.training_loss(2)


@pytest.mark.parametrize(
    ("starts", "images", "seconds", "epoch_seconds"),
    [
        ([0], 48, 28 / 32 + 20 / 16, 5.25),
        ([0, 6], 36, 28 / 32 + 8 / 16, 5.25),
        ([6], 8, 8 / 16, 9.0),
        ([9], 48, 28 / 32 + 20 / 16, 5.25),
    ],
    ids=["one process", "two processes", "a run that continues another", "nothing left to do"],
)
def test_speeds_are_those_of_the_run_itself_without_what_compiles(
    tmp_path: Path, starts: list[int], images: int, seconds: float, epoch_seconds: float
) -> None:
    """32 images/s in two epochs, 16 in the last."""
    rows = [dict(row) for row in ROWS]
    for row in rows:
        rate = 16 if row["epoch"] == 2 else 32
        row.update({"seconds": STEPS.images(row["step"]) / rate} if "step" in row else {})
    rows[-1]["epoch_seconds"] = 9.0
    summary = load(tmp_path, [json.dumps(row).encode() + b"\n" for row in rows], (3, 0)).summary(starts)
    assert summary["images_per_second"] == pytest.approx(images / seconds)
    assert summary["epoch_seconds"] == epoch_seconds


@pytest.mark.parametrize(
    ("examples", "batch", "sizes"),
    [(20, 8, [8, 8, 4]), (16, 8, [8, 8]), (5, 8, [5]), (1440, 1439, [1439, 1]), (3, 1, [1] * 3)],
)
def test_steps_divide_the_examples(examples: int, batch: int, sizes: list[int]) -> None:
    steps = Steps(examples, batch)
    assert [steps.images(step) for step in range(steps.per_epoch)] == sizes
    assert steps.before((2, 1)) == 2 * len(sizes) + 1
