"""The record of a comparison, ``compare.json``: it is written after every run, and a comparison goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import VGGError, mismatch
from ..core.files import opened
from ..process.provenance import provenance
from ..process.replies import recorded
from . import directory
from .directory import write_json
from .schedule import Schedule
from .statistics import pairs, statistics

NAME = "compare.json"
FILES = ("run.json", "metrics.jsonl", "evaluation.json", "weights.safetensors")
"""The files of a finished run, whose digests are recorded."""
KEPT = ("runs", "digests", "failures")
"""The fields of a column that are about all seeds; the others are those of the first one's run, and of the proof."""


class Record:
    """The ``result`` of a comparison, which is what ``compare.json`` holds, as the runs of ``schedule`` end."""

    def __init__(self, schedule: Schedule, result: dict[str, Any] | None = None) -> None:
        self.schedule = schedule
        about = {"spec": schedule.task.spec.to_dict(), "recipe": schedule.task.recipe.to_dict()}
        self.result = result or provenance() | about | {"backends": {}}
        self.result |= {"seeds": list(schedule.seeds), "options": schedule.options()}

    def pending(self) -> list[tuple[str, int]]:
        """Return the (backend, seed) of the runs that are still to be trained, and of first ones without a proof."""
        return [run for run in self.schedule.order() if not self.has(*run) or self._unproven(*run)]

    def has(self, name: str, seed: int) -> bool:
        """Return whether this run is finished."""
        return str(seed) in self.result["backends"].get(name, {}).get("runs", {})

    def add(self, name: str, seed: int, summary: Mapping[str, Any]) -> None:
        """Record a finished run, with the digests of its files. Raises ``VGGError`` when these cannot be read."""
        column = self._column(name)
        digests = {**column["digests"], str(seed): digests_of(self.schedule.path(name, seed))}
        runs = {**column["runs"], str(seed): dict(summary)}
        column["runs"], column["digests"] = self._in_order(runs), self._in_order(digests)
        column["failures"].pop(str(seed), None)
        self.save()

    def prove(self, name: str, facts: Mapping[str, Any], proof: Mapping[str, Any]) -> None:
        """Record the facts and the proof of a backend whose first run is finished."""
        column = self._column(name)
        kept = {field: column[field] for field in KEPT}
        self.result["backends"][name] = {"facts": facts, **column["runs"][str(self.schedule.seeds[0])], **proof, **kept}

    def fail(self, name: str, seed: int, error: str) -> None:
        """Record that a run has failed. If it is the first, the column has failed."""
        column = self._column(name)
        for field in ("runs", "digests"):
            column[field].pop(str(seed), None)
        column["failures"] = self._in_order({**column["failures"], str(seed): error})
        if self._first(seed):
            kept = {field: column[field] for field in KEPT}
            self.result["backends"][name] = {"ok": False, "error": error, **kept}

    def save(self) -> None:
        """Write ``compare.json`` with what the runs so far say. Raises ``VGGError`` when it cannot be written."""
        columns, count = self.result["backends"], len(self.schedule.seeds)
        self.result["backends"] = columns = {name: columns[name] for name in self.schedule.names if name in columns}
        for column in columns.values():
            column["statistics"] = statistics(column["runs"])
        self.result["pairs"] = pairs({name: columns.get(name, {}).get("runs", {}) for name in self.schedule.names})
        complete = len(columns) == len(self.schedule.names)
        self.result["ok"] = complete and all(one["ok"] and len(one["runs"]) == count for one in columns.values())
        write_json(self.schedule.place / NAME, self.result)

    def check_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """Raise ``VGGError`` when the finished runs of a backend have other facts: of another version, for example."""
        seeds = [int(seed) for seed in self._column(name)["runs"]]
        if not seeds:
            return
        earlier = recorded("facts", directory.load(self.schedule.path(name, seeds[0]))["facts"])
        for field in {**earlier, **facts}:
            got, wanted = facts.get(field, "nothing"), earlier.get(field, "nothing")
            if got != wanted:
                do = "start a new comparison"
                raise mismatch(f"{name}: facts.{field}", got, f"{wanted}, as in the run of seed {seeds[0]}", do)

    def shown(self) -> dict[str, Path]:
        """Return ``{backend: directory below which its runs are}`` for a page, without backends that have failed."""
        names = [name for name, column in self.result["backends"].items() if "facts" in column]
        return {name: self.schedule.place / name for name in names}

    def _column(self, name: str) -> dict[str, Any]:
        fresh = {"ok": False, **{field: {} for field in KEPT}}
        column: dict[str, Any] = self.result["backends"].setdefault(name, fresh)
        return column

    def _first(self, seed: int) -> bool:
        return seed == self.schedule.seeds[0]

    def _unproven(self, name: str, seed: int) -> bool:
        return self._first(seed) and "facts" not in self.result["backends"][name]

    def _in_order(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {seed: values[seed] for seed in map(str, self.schedule.seeds) if seed in values}


def digests_of(run: Path) -> dict[str, str]:
    """Return ``{file: SHA-256}`` of the files of a finished run. Raises ``VGGError`` when one cannot be read."""
    digests = {}
    for name in FILES:
        try:
            with opened(run / name) as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise VGGError(f"{run / name}: cannot be read ({error.strerror}); put it back") from error
    return digests
