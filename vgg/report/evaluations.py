"""The evaluations of runs, as a page shows them: read from ``evaluation.json`` and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import mismatch
from ..core.files import read_object
from ..training.evaluation import MATRIX

_LATER: dict[str, Any] = {"confusion": None, "confusions": [], "mistakes": []}
"""Fields that an evaluation may lack: the matrix of many classes, and what earlier versions did not write."""


def read(runs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the contents of ``evaluation.json`` of every run that has one.

    Raises ``VGGError``, which names the file and the field, when one of them is not what vgg writes.
    """
    paths = {name: run / "evaluation.json" for name, run in runs.items()}
    return {name: _checked(path, _LATER | read_object(path)) for name, path in paths.items() if path.exists()}


def classes(evaluations: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """Return {index: name} of the classes to show: all, or if they are too many, those that some test image has."""
    names = next(iter(evaluations.values()))["classes"] if evaluations else []
    few = len(names) <= MATRIX
    shares = [evaluation["class_accuracy"] for evaluation in evaluations.values()]
    return {i: name for i, name in enumerate(names) if few or any(share[i] is not None for share in shares)}


def _checked(path: Path, evaluation: dict[str, Any]) -> dict[str, Any]:
    names = evaluation.get("classes", ())
    count = len(names) if _list(names, lambda name: isinstance(name, str)) else 0
    fits = {
        "classes": count > 0,
        "class_accuracy": _list(evaluation.get("class_accuracy"), _share, count),
        "confusion": evaluation["confusion"] is None
        or _list(evaluation["confusion"], lambda row: _list(row, _count, count), count),
        "confusions": _list(evaluation["confusions"], _confusion),
        "mistakes": _list(evaluation["mistakes"], lambda one: isinstance(one, dict)),
    }
    for name, right in fits.items():
        if not right:
            got = repr(evaluation[name])[:60] if name in evaluation else "nothing"
            raise mismatch(f"{path}: {name}", got, "what vgg wrote there", "remove the file, or put it back")
    return evaluation


def _list(value: Any, fits: Callable[[Any], bool], count: int | None = None) -> bool:
    return isinstance(value, list) and count in (None, len(value)) and all(map(fits, value))


def _share(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _count(value: Any) -> bool:
    return type(value) is int


def _confusion(value: Any) -> bool:
    return isinstance(value, dict) and {"label", "predicted", "count"} <= value.keys()
