"""The state of a session: its workers and the verdicts so far."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.systems import cores
from .tally import NOT_DECLARED, Tally, cell_text

if TYPE_CHECKING:
    from ..core.comparator import Verdict
    from ..core.recipe import Recipe
    from ..core.spec import Spec
    from ..process.client import Worker
    from .declared import Fact

Value = TypeVar("Value")
PATIENCE = 3
"""How often a backend is started before it is given up: one that hangs would cost its time limit in every cell."""


@dataclass
class Board(Tally):
    """A tally with the workers and the seconds that each backend took."""

    env: str = "auto"
    timeout: float = 900
    device: str = "cpu"
    replicas: int = 1
    thorough: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    frameworks: dict[str, str] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def worker(self, backend: str) -> Worker:
        """Return the worker of ``backend``, started at first use and after a death, ``PATIENCE`` times in all.

        Raise ``BackendError`` if it has died that often, and the error of its start if it could not start once.
        """
        from ..core.errors import BackendError, VGGError

        if backend in self.workers and self.workers[backend].alive:
            return self.workers[backend]
        if backend not in self.refusals:
            self.starts[backend] = self.starts.get(backend, 0) + 1
            if self.starts[backend] > PATIENCE:
                self.refusals[backend] = f"{backend}: died {PATIENCE} times, see above; given up"
        if backend in self.refusals:
            raise BackendError(self.refusals[backend])
        try:
            self.workers[backend] = self.start(backend)
        except VGGError as error:
            self.refusals[backend] = str(error)
            raise
        with suppress(BackendError):  # if it matters, a cell will fail for it
            facts = self.workers[backend].facts()
            self.frameworks[backend] = facts["framework"]
            self.claims.setdefault(backend, (facts["level"], facts["dtypes"]))  # a later claim of less changes nothing
        return self.workers[backend]

    def start(self, backend: str) -> Worker:
        """Start a new worker, which the caller closes."""
        from ..process import registry
        from ..process.client import Worker

        entry = registry.find(backend)
        processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        # ``run`` has set the variables of threads already; a user's own pytest-xdist has not.
        variables = {**_compiled("float64" if self.thorough else "float64,float32"), **threads(processes)}
        where: dict[str, Any] = {
            "env": self.env,
            "timeout": self.timeout,
            "device": self.device,
            "replicas": self.replicas,
        }
        return Worker(entry, **where, variables=variables)

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers.values():
            worker.close()

    def note(self, check: str, backend: str, verdict: Verdict, *, known: bool = False, expected: bool = False) -> None:
        """Enter a verdict. ``expected``: a failure is expected; ``known``: this is that failure."""
        from ..core.comparator import UNDECLARED

        outcome = NOT_DECLARED if verdict.limit is UNDECLARED else "passed"
        outcome = ("known failure" if known else "failed") if not verdict.ok else outcome
        numbers = {name: _finite(getattr(verdict, name)) for name in ("error", "limit")}
        numbers["limit_ulp"] = verdict.limit_ulp
        entry = {"outcome": "unexpected pass" if verdict.ok and expected else outcome, **numbers}
        entry |= {"basis": verdict.basis, "where": verdict.where, "reason": verdict.reason}
        self.cells.setdefault(check, {})[backend] = entry

    def handed(self) -> str:
        """Return the results as text, for ``take`` on the board of another process."""
        names = ("cells", "facts", "seconds", "frameworks", "claims", "begun")
        return json.dumps(
            {name: getattr(self, name) for name in names} | {"left_out": sorted(self.left_out)}, default=float
        )

    def take(self, text: str) -> None:
        """Add the results of another process, as its ``handed`` returned them."""
        from .declared import Fact

        results = json.loads(text)
        for check, row in results["cells"].items():
            self.cells.setdefault(check, {}).update(row)
        for fact, row in results["facts"].items():
            self.facts.setdefault(fact, {}).update({backend: Fact(*of) for backend, of in row.items()})
        for backend, seconds in results["seconds"].items():
            self.seconds[backend] = self.seconds.get(backend, 0.0) + seconds
        self.frameworks |= results["frameworks"]
        self.claims = {backend: tuple(claim) for backend, claim in results["claims"].items()} | self.claims
        self.left_out |= {(backend, check) for backend, check in results["left_out"]}
        self.begun |= results["begun"]

    def to_dict(self) -> dict[str, object]:
        """Return everything as a dict for JSON."""
        from ..process.provenance import provenance

        facts = {
            name: {b: {**f._asdict(), "size": _finite(f.size)} for b, f in self._columns(row).items()}
            for name, row in self.ordered(self.facts, "declared ")
        }
        return {
            **provenance(),
            "frameworks": self._columns(self.frameworks),
            "claims": {backend: {"level": level, "dtypes": dtypes} for backend, (level, dtypes) in self.claims.items()},
            "judged": {backend: list(self.judged(backend)) for backend in self.backends},
            "checks": {check: self._columns(row) for check, row in self.ordered(self.cells)},
            "declared": facts,
            "seconds": self._columns(self.seconds),
        }

    def _columns(self, row: Mapping[str, Value]) -> dict[str, Value]:
        """Return the entries of a row in the order of the backends, whatever process they came from."""
        return {backend: row[backend] for backend in self.backends if backend in row}

    def tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield (title, rows) of the matrix, then of the declared differences."""
        backends = [name for name in self.backends if name in self.seconds]
        if self.cells:
            rows = [
                [check, *(cell_text(row.get(name)) for name in backends)] for check, row in self.ordered(self.cells)
            ]
            times = ["time", *(f"{self.seconds[name]:.0f} s" for name in backends)]
            yield "conformance: error / limit", [["", *backends], *rows, times]
        if self.facts:
            measured = {
                fact: [_fact(row[name]) if name in row else "-" for name in backends]
                for fact, row in self.ordered(self.facts, "declared ")
            }
            rows = [[fact, *texts] for fact, texts in measured.items()]
            yield "declared differences: what is done, relative size (facts, not passes)", [["", *backends], *rows]


@dataclass(frozen=True)
class Backend:
    """The workers that a cell may use: see ``cell.Bench``."""

    board: Board
    name: str

    def worker(self) -> Worker:
        """Return the worker of the backend that is judged."""
        return self.board.worker(self.name)

    def fresh(self) -> Worker:
        """Return another worker of the same backend, in its own process."""
        return self.board.start(self.name)

    def source(self, name: str) -> Worker:
        """Return the worker of another backend."""
        return self.board.worker(name)

    def script(self, spec: Spec, *, recipe: Recipe | None = None, weights: Path | None = None) -> str | None:
        """Return the script that ``vgg code`` prints for the judged backend, or None if it offers no code."""
        from .. import scripts
        from ..process import registry

        entry = registry.find(self.name)
        return scripts.source(entry, spec, recipe=recipe, weights=weights) if scripts.template_of(entry) else None


def threads(processes: int) -> dict[str, str]:
    """Return environment variables by which each of several ``processes`` takes its share of the cores.

    Threads wait for one another, and many times as long if other threads want the same cores. Variables that the user
    has set stay as they are. JAX ignores all of these.
    """
    each = str(max(1, cores() // processes))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    return {name: each for name in names if processes > 1 and name not in os.environ}


def _compiled(hasty: str) -> dict[str, str]:
    """Return environment variables that save compile time in JAX, except those that the user has set.

    JAX takes seconds to compile each of the suite's small nets, which are the same in every run, so it caches them. It
    also compiles learners of the ``hasty`` precisions in a quarter of the time, at the price of slower steps.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vgg" / "jax"
    variables = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
    variables["VGG_HASTY"] = hasty
    return {name: value for name, value in variables.items() if name not in os.environ}


def _fact(fact: Fact) -> str:
    if fact.wrong:
        return "KNOWN FAILURE" if fact.known else "FAILED"
    return f"{fact.text} {fact.size:.0e}" if math.isfinite(fact.size) else fact.text


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
