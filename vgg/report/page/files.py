"""What a page reads from run directories: metrics and evaluations, checked, of one run or of one run per seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import limits
from ...core.errors import VGGError, mismatch
from ...core.texts import for_path
from ...training import history
from .. import evaluations
from . import curves


@dataclass(frozen=True)
class Files:
    """The files of one run: the rows of its metrics, and its evaluation, or None when it has none."""

    path: Path
    rows: list[dict[str, Any]]
    evaluation: dict[str, Any] | None


def read(column: Mapping[str, Any], run: Path) -> list[Files]:
    """Return the files of a column's runs below ``run``, one per seed.

    Raises ``VGGError``, which names the file and the field, when one of them is not what vgg wrote.
    """
    return [_read(place) for place in _places(column, run)]


def check(column: Mapping[str, Any], run: Path) -> None:
    """Raise ``VGGError`` unless the files of a column's runs can be shown. Nothing is drawn."""
    for one in read(column, run):
        try:
            curves.numbers(one.rows)
        except (ArithmeticError, ValueError, TypeError) as error:
            raise VGGError(f"{one.path / history.NAME}: cannot be drawn ({error}); train again") from error


def _places(column: Mapping[str, Any], run: Path) -> list[Path]:
    """Return the directories of a column's runs: ``run`` itself, or one per seed below it."""
    seeds = [run / f"seed-{for_path(str(seed))}" for seed in column.get("runs", ())]
    return [place for place in seeds if place.is_dir()] or [run]


def _read(run: Path) -> Files:
    path, evaluation = run / history.NAME, evaluations.read({"": run}).get("")
    try:
        size = path.stat().st_size if path.is_file() else 0
    except OSError:
        size = 0
    if size > limits.RESULT:
        raise mismatch(str(path), f"{size:,} bytes", f"at most {limits.RESULT:,}", "move it elsewhere")
    rows = history.read(path) if path.exists() else []
    return Files(run, rows, evaluation)
