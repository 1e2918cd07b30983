"""Runs from several places, as one page shows them: run directories, comparisons, and files of results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..conformance import document as checks
from ..core.errors import VGGError, mismatch, within
from ..core.files import read_object
from ..core.spec import Spec
from ..core.texts import one_line
from ..process.replies import recorded
from ..report.html import Contents
from ..timing import results as timings
from . import directory
from .evidence import check_proof, check_runs
from .heads import check_head
from .record import NAME

WANTED = "a directory of vgg train or vgg compare, or a file of vgg bench or of vgg check --json"

RUN = "run.json"
SOURCE = ("date", "machine", "vgg", "commit")
HEAD = (*SOURCE, "spec", "recipe")
"""What results say about themselves: where they come from, and what of."""


@dataclass
class Collection:
    """Columns of a comparison with their directories, heads and specs of what they come from, and the other results."""

    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, Path] = field(default_factory=dict)
    heads: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    specs: list[Spec] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    conformance: list[dict[str, Any]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Add what is at ``path``. Raises ``VGGError`` when that is nothing that vgg has written."""
        if not os.path.isdir(path):  # noqa: PTH112  # it never raises
            self._add_file(path)
        elif (path / NAME).is_file():
            self._add_comparison(path)
        else:
            self._add_run(path)

    def contents(self) -> Contents:
        """Return the contents of the page.

        Raises ``VGGError`` when runs are of different networks, and when there is nothing to show.
        """
        if self.heads and not self.columns:
            raise mismatch(
                str(self.heads[0][0]), "no finished run", "one or more", "vgg compare --resume trains what is left"
            )
        return Contents(self._comparison() if self.columns else None, self.runs, self.timings, self.conformance)

    def _add_file(self, path: Path) -> None:
        if not os.path.lexists(path):
            raise mismatch(one_line(path), "nothing there", WANTED)
        value = read_object(path)
        if "workloads" in value:
            self.timings.append(timings.checked(path, value))
        elif "checks" in value:
            self.conformance.append(checks.checked(path, value))
        else:
            raise _other(path, value)

    def _add_comparison(self, path: Path) -> None:
        file = path / NAME
        result = read_object(file)
        self._add_head(file, result, check_head(file, result, several=True))
        for name, column in result["backends"].items():
            self._add_column(file, name, name, column, path / name)
        with within(file):
            check_runs(path, result)

    def _add_run(self, path: Path) -> None:
        run, file = directory.load(path), path / RUN
        spec = check_head(file, run, several=False)
        if not run.get("summary") or not run.get("facts"):
            raise mismatch(str(path), "a run that has not finished", "a finished one", "vgg train --resume goes on")
        self._add_head(file, run, spec)
        column = {"facts": run["facts"], **run["summary"]}
        self._add_column(file, path.name, run["backend"], column, path)

    def _add_head(self, file: Path, result: dict[str, Any], spec: Spec) -> None:
        """Keep what a result says of itself. Raises ``VGGError`` for the same results again."""
        same = next((str(other) for other, one in self.heads if one == result), None)
        if same:
            raise mismatch(str(file), f"the results of {same} again", "other results", "name each once")
        self.heads.append((file, result))
        self.specs.append(spec)

    def _add_column(self, file: Path, name: str, backend: str, column: Any, run: Path) -> None:
        label = next(one for one in _labels(backend, name, file) if one not in self.columns)
        with within(f"{file}: {'backends.' * (file.name == NAME)}{one_line(backend)}"):
            self.columns[label] = _checked(column) | ({"backend": backend} if label != backend else {})
            check_proof(self.specs[-1], self.columns[label])
        if "error" not in column:
            self.runs[label] = run

    def _comparison(self) -> dict[str, Any]:
        first, result = self.heads[0]
        for (file, _), spec in zip(self.heads, self.specs, strict=True):
            if spec != self.specs[0]:
                raise mismatch(str(file), "another network", f"that of {first}", "make one page per network")
        head: dict[str, Any] = {name: result[name] for name in HEAD if name in result}
        if len(self.heads) == 1:
            return {**result, **head, "backends": self.columns}
        proven = any("layers" in column for column in self.columns.values())
        sources = [{"place": file.parent.name, **{name: one.get(name) for name in SOURCE}} for file, one in self.heads]
        return {**head, "backends": self.columns, **_verdict(self.columns, proven=proven), "sources": sources}


def collect(paths: Iterable[Path]) -> Contents:
    """Return what a page about ``paths`` shows.

    Each is the directory of a run or of a comparison, or a file with results of ``vgg bench`` or ``vgg check``. A
    second column of a backend gets the name of its directory too. Raises ``VGGError`` when one is nothing of these.
    """
    collection = Collection()
    for path in paths:
        collection.add(path)
    return collection.contents()


def _other(path: Path, value: Mapping[str, Any]) -> VGGError:
    """Return the error for JSON that is no result; the files of a directory are shown by its name."""
    name = NAME if "backends" in value else RUN if {"backend", "recipe"} <= value.keys() else ""
    if not name:
        return mismatch(str(path), "other JSON", WANTED)
    got, wanted = f"the {name} of a directory", f"the directory itself, in which it is called {name}"
    do = f"vgg report {path.parent}" if path.name == name else f"put it into a directory as {name}, and name that"
    return mismatch(str(path), got, wanted, do)


def _verdict(columns: Mapping[str, Mapping[str, Any]], *, proven: bool) -> dict[str, Any]:
    return {"ok": all(column.get("ok", True) for column in columns.values())} if proven else {}


def _labels(backend: str, name: str, file: Path) -> Iterable[str]:
    yield backend
    folder = file.parent.name if name == backend else name
    yield f"{backend} ({folder})"
    number = 2
    while True:
        yield f"{backend} ({folder}, {number})"
        number += 1


def _checked(column: Any) -> dict[str, Any]:
    """Return a column with texts that can be shown. Raises ``VGGError`` unless it is one."""
    if not isinstance(column, dict):
        raise mismatch("column", one_line(column), "a table")
    if "error" in column:
        return {name: value for name, value in column.items() if name != "facts"} | {
            "ok": False,
            "error": str(column["error"]),
        }
    if "facts" not in column:
        raise mismatch("column", "no facts", "facts, as vgg wrote them")
    return {**column, **recorded("train", column), "facts": recorded("facts", column["facts"])}
