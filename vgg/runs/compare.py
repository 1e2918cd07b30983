"""A comparison: the same run in several backends, with a proof that they hold the same network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..conformance.proof import prove
from ..core.errors import VGGError
from ..core.files import write_atomically
from ..process import registry
from ..process.client import Listener
from ..process.provenance import provenance
from ..report import html
from ..training.checkpoints import alone_in
from .directory import directory, write_json
from .options import Setup, Task
from .train import Prepared, train


def compare(names: Sequence[str], place: Path, task: Task, setup: Setup, listener: Listener) -> dict[str, Any]:
    """Train, prove and time each of the backends ``names``; return the result.

    Each run gets a directory below ``place``, which also gets ``compare.json`` (the result) and ``report.html``. A
    backend that fails is a column with ``error`` in the result; the others go on. Raises ``VGGError`` when ``place`` is
    not empty or another process is using it.
    """
    with alone_in(directory(place)):
        directory(place)  # nobody has filled it before the lock
        result = provenance() | {"spec": task.spec.to_dict(), "recipe": task.recipe.to_dict(), "backends": {}}
        for name in names:
            try:
                result["backends"][name] = _column(Prepared(registry.find(name), place / name, task, setup), listener)
            except VGGError as error:
                result["backends"][name] = {"ok": False, "error": str(error)}
                listener.stage(name, "failed")
            result["ok"] = all(column["ok"] for column in result["backends"].values())
            write_json(place / "compare.json", result)
        runs = {name: place / name for name in names if _is_shown(result, name, place / name)}
        write_json(place / "compare.json", result)
        write_atomically(place / "report.html", html.page(result, runs).encode())
    return result


def _is_shown(result: dict[str, Any], name: str, run: Path) -> bool:
    """Return whether a run's files can be shown. If they cannot, its column becomes one that failed."""
    column = result["backends"][name]
    try:
        html.check(result, {name: run})
    except VGGError as error:
        result["backends"][name] = {"ok": False, "error": column.get("error", str(error))}
        result["ok"] = False
        return False
    return True


def _column(run: Prepared, listener: Listener) -> dict[str, Any]:
    """Return the result of one backend: its facts, its training summary and its proof."""
    listener.stage(run.entry.name, "starting")
    with run.setup.worker(run.entry) as worker:
        facts = worker.facts()
        summary = train(worker, run, listener)
        listener.stage(run.entry.name, "proving")
        return {"facts": facts, **summary, **prove(worker, run.task.spec)}
