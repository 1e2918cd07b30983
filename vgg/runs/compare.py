"""The main job: the same run in several backends, each proven to be the same network."""

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
from ..process.registry import Entry
from ..report import html
from .directory import write_json
from .options import Setup, Task
from .train import Prepared, train


def compare(names: Sequence[str], place: Path, task: Task, setup: Setup, listener: Listener) -> dict[str, Any]:
    """Prove, train and time each backend; ``compare.json`` and ``report.html`` in ``place``."""
    result = provenance() | {"spec": task.spec.to_dict(), "recipe": task.recipe.to_dict(), "backends": {}}
    for name in names:
        try:
            result["backends"][name] = _judged(Prepared(registry.find(name), place / name, task, setup), listener)
        except VGGError as error:
            result["backends"][name] = {"ok": False, "error": str(error)}
            listener.stage(name, "failed")
        result["ok"] = all(column["ok"] for column in result["backends"].values())
        write_json(place / "compare.json", result)
    page = html.page(result, {name: place / name for name in result["backends"]})
    write_atomically(place / "report.html", page.encode())
    return result


def _judged(run: Prepared, listener: Listener) -> dict[str, Any]:
    listener.stage(run.entry.name, "starting")
    with run.setup.worker(run.entry) as worker:
        facts = worker.facts()
        summary = train(worker, run, listener)
        listener.stage(run.entry.name, "proving")
        return {"facts": facts, **summary, **prove(worker, run.task.spec)}
