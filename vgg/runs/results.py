"""The results of the Python API: small frozen objects with a plain ``repr``, a table in a notebook, and ``to_dict``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..conformance.tally import cell_text
from ..core.params import Params, load_params
from ..report import notebook
from ..report.rows import OF_SEEDS, notes, pair_rows
from ..training import history
from . import directory


@dataclass(frozen=True)
class Run:
    """One finished training run: its ``backend``, its directory ``path``, and the ``summary`` that ``run.json`` has."""

    backend: str
    path: Path
    summary: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        """The share of test images that the trained network gets right."""
        return float(self.summary["test_accuracy"])

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One dictionary per training step and per evaluation, in order: the lines of ``metrics.jsonl``."""
        return history.read(self.path / history.NAME)

    def weights(self) -> Params:
        """Read the trained parameters, ``{canonical name: array}``. Raises ``VGGError`` if the file is not readable."""
        return load_params(self.path / "weights.safetensors")

    @property
    def report(self) -> Path:
        """The path of the HTML page about this run."""
        return self.path / "report.html"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the directory and the summary."""
        return {"run": str(self.path), **self.summary}

    def __repr__(self) -> str:
        return f"Run({self.backend!r}, {str(self.path)!r}, accuracy={self.accuracy:.4f})"

    def _repr_html_(self) -> str:
        columns = {self.backend: {"facts": directory.load(self.path)["facts"], **self.summary}}
        return notebook.comparison({"backends": columns}, {self.backend: self.path})


@dataclass(frozen=True)
class Comparison:
    """The result of ``vgg.compare``.

    ``comparison["jax"]`` is the ``Run`` of the backend ``jax`` with the first seed, and ``comparison.runs["jax"]`` has
    those of all seeds. ``path`` is the directory, and ``result`` the contents of ``compare.json``.
    """

    path: Path
    result: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether every backend was proven to be the same network."""
        return bool(self.result["ok"])

    @property
    def report(self) -> Path:
        """The path of the HTML page about this comparison."""
        return self.path / "report.html"

    @property
    def seeds(self) -> list[int]:
        """The seeds that every backend has trained with."""
        return list(self.result.get("seeds") or [self.result["recipe"]["seed"]])

    @property
    def runs(self) -> dict[str, dict[int, Run]]:
        """``{backend: {seed: run}}`` of the runs that have finished."""
        return {name: dict(self._runs(name)) for name in self}

    @property
    def statistics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``{backend: {quantity: {count, mean, deviation}}}`` over the seeds; ``deviation`` is None for one run.

        Quantities are ``test_accuracy``, ``last_loss`` and ``images_per_second``.
        """
        return {name: dict(column.get("statistics", {})) for name, column in self.result["backends"].items()}

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """One dictionary per pair of backends and quantity: what the seeds say of their difference.

        It has ``backends`` and ``quantity``; ``count``, the number of common seeds; ``difference``, the mean of first
        minus second; ``interval``, its 95 % confidence interval, corrected for the number of pairs; ``word``:
        different, not distinguishable or too few runs; and ``visible``, the difference that so many runs would have
        called different with a probability of 80 %. Of images/s, ``ratio`` has these three as ratios minus 1.
        """
        return list(self.result.get("pairs", ()))

    def __getitem__(self, backend: str) -> Run:
        """Return the run of a backend with the first seed.

        Raises ``KeyError`` when it has failed, with the reason, or was not compared.
        """
        column = self.result["backends"][backend]
        if "error" in column:
            raise KeyError(f"{backend} failed: {column['error']}")
        own = {name: value for name, value in column.items() if name not in OF_SEEDS}
        return Run(backend, self._path(backend, self.seeds[0]), own)

    def _runs(self, backend: str) -> Iterator[tuple[int, Run]]:
        column = self.result["backends"][backend]
        for seed, summary in column.get("runs", {}).items():
            yield int(seed), Run(backend, self._path(backend, int(seed)), summary)
        if "runs" not in column and "error" not in column:  # of an earlier version
            yield self.seeds[0], self[backend]

    def _path(self, backend: str, seed: int) -> Path:
        return directory.run_path(self.path, backend, seed, self.seeds)

    def __iter__(self) -> Iterator[str]:
        return iter(self.result["backends"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the contents of ``compare.json``."""
        return dict(self.result)

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self)}; ok={self.ok}, {str(self.path)!r})"

    def _repr_html_(self) -> str:
        drawn = notebook.comparison(self.result, {name: self.path / name for name in self})
        columns, rows = pair_rows(self.result)
        return drawn + (notebook.table(columns, rows) if rows else "") + notebook.paragraphs(notes(self.result))


@dataclass(frozen=True)
class Check:
    """The result of ``vgg.check``.

    ``status`` is the exit status of the command, ``result`` its JSON, and ``reason`` says why nothing was judged, if
    nothing was.
    """

    status: int
    result: Mapping[str, Any]
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether no selected check failed, and at least one was judged per backend."""
        return self.status == 0

    @property
    def cells(self) -> dict[str, dict[str, dict[str, Any]]]:
        """``{check: {backend: cell}}``; a cell has ``outcome``, ``error``, ``limit`` and ``reason``."""
        return dict(self.result.get("checks", {}))

    @property
    def judged(self) -> dict[str, list[int]]:
        """``{backend: [number of cells and facts that were judged, number of all of them]}``."""
        return dict(self.result.get("judged", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as ``vgg check --json`` prints them."""
        return {"ok": self.ok, **self.result}

    def __repr__(self) -> str:
        judged = ", ".join(f"{name}: judged {count} of {total}" for name, (count, total) in self.judged.items())
        return f"Check(ok={self.ok}; {judged})"

    def _repr_html_(self) -> str:
        backends = list(self.judged)
        rows = [[check, *(cell_text(row.get(name)) for name in backends)] for check, row in self.cells.items()]
        return notebook.table(["", *backends], rows)


@dataclass(frozen=True)
class Timings:
    """The result of ``vgg.bench``.

    ``path`` is the file that holds ``result``; ``complaints`` are lines about what failed or has become slower.
    """

    path: Path
    result: Mapping[str, Any]
    complaints: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and nothing is slower than in the earlier result that it was compared with."""
        return bool(self.result["ok"]) and not self.complaints

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the contents of the file."""
        return dict(self.result)

    def __repr__(self) -> str:
        return f"Timings({', '.join(self.result['workloads'])}; ok={self.ok}, {str(self.path)!r})"

    def _repr_html_(self) -> str:
        from ..report.timings import tables

        return "".join(notebook.table(t.columns, t.rows, t.title) for t in tables(self.result))
