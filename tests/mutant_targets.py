"""What mutants are made of and judged on: the oracle in this process, or a real backend in its environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import mutating
from kill_matrix import cells
from mutating import ROOT, Mutant
from sabotage import ORACLE, TEMPLATE, Bench, Inside, _copied, around

import vgg
from vgg import BackendError, Recipe, Spec, scripts
from vgg.conformance.cell import Bench as SuiteBench
from vgg.conformance.cell import Judge
from vgg.core.comparator import Verdict
from vgg.process import registry
from vgg.process.client import Array, Jobs, Worker
from vgg.process.environments import launch
from vgg.process.wire import Arrays
from vgg.worker import Session

REFERENCE, BACKENDS = ROOT / "vgg" / "core" / "oracle.py", ROOT / "vgg" / "backends"
TORCH = (*(BACKENDS / "torch" / f"{name}.py" for name in ("model", "numbers", "learner")), BACKENDS / "bookkeeping.py")
ALONG = (*TORCH, *(BACKENDS / "torch" / f"{name}.py" for name in ("script", "__init__")))
"""What a mutant of the torch backend is made of."""
NURSERY = Path(__file__).with_name("nursery.py")


class Inner(Inside):
    """A mutant of the oracle, in this process. Whatever it raises is its failure, as in a process of its own.

    ``unbiased``: it declares torch's running variance, so that the oracle's code for that runs too.
    """

    def __init__(self, mutant: Mutant | None, raised: list[str], unbiased: bool = False) -> None:
        with TemporaryDirectory() as folder:
            reference = _copied("vgg.core._sabotaged", _mutated(REFERENCE, mutant, folder))
            oracle = _copied("sabotaged_oracle", _mutated(ORACLE, mutant, folder))
        oracle.reference, oracle.TEMPLATE, self.raised = reference, TEMPLATE, raised
        self.oracle = oracle
        if unbiased:
            oracle.DECLARED = {"running_var": "unbiased"}
            around(oracle, "_mode", lambda original, *a, **k: original(*a, **k)._replace(bessel=True))
        self.session = Session("sabotaged_oracle", lambda _: None)

    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        try:
            return super().call(job, arrays, **arguments)
        except (AttributeError, BackendError, LookupError, NameError, TypeError) as error:
            self.raised.append(str(error))
            kind = type(error) if isinstance(error, BackendError) else BackendError
            raise kind(str(error)) from error


class InnerBench(Bench):
    """A mutant of the oracle beside the healthy one; ``raised`` is what it has raised."""

    def __init__(self, mutant: Mutant | None, raised: list[str], unbiased: bool = False) -> None:
        self.mutant, self.unbiased, self.raised = mutant, unbiased, raised
        self._worker, self._healthy = Inner(mutant, self.raised, unbiased), Inner(None, [])

    def fresh(self) -> AbstractContextManager[Inside]:
        return nullcontext(Inner(self.mutant, self.raised, self.unbiased))


class Outer(Worker):
    """A mutant of torch's backend, in its environment."""

    def __init__(self, entry: registry.Entry, raised: list[str]) -> None:
        super().__init__(entry, timeout=120)
        self.raised = raised

    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        try:
            return super().call(job, arrays, **arguments)
        except BackendError as error:
            self.raised.append(str(error))
            raise


class OuterBench:
    """A mutant of torch's backend beside the healthy oracle; ``raised`` is what it has raised."""

    def __init__(self, entry: registry.Entry, stack: ExitStack) -> None:
        self.entry, self.stack, self.raised, self.healthy = entry, stack, list[str](), Inner(None, [])
        self._worker: Worker | None = None

    def worker(self) -> Worker:
        if not self._worker or not self._worker.alive:
            self._worker = self.stack.enter_context(self.fresh())
        return self._worker

    def fresh(self) -> Worker:
        return Outer(self.entry, self.raised)

    def source(self, name: str) -> Jobs:
        return self.healthy

    def script(self, spec: Spec, *, recipe: Recipe | None = None, weights: Path | None = None) -> str:
        return scripts.source(registry.find("torch"), spec, recipe=recipe, weights=weights)


SomeBench = InnerBench | OuterBench


@contextmanager
def _torchs_nursery() -> Iterator[None]:
    """Within it, workers are forked from a process that has imported torch."""
    with TemporaryDirectory(prefix="vgg-", ignore_cleanup_errors=True) as home:
        Path(home, "vgg").symlink_to(Path(vgg.__file__).parent)
        path, entry = Path(home, "socket"), registry.find("torch")
        command, environ = launch(entry, "auto", home)
        serving = [*command, str(NURSERY), "serve", str(path), "torch", "vgg.worker"]
        variables = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
        with subprocess.Popen(serving, env={**environ, **variables}, stdin=subprocess.PIPE) as server:
            while not path.exists() and server.poll() is None:
                time.sleep(0.1)
            with patch("vgg.process.client.launch", lambda _entry, _env, home: _asking(path, home)):
                yield


def _asking(path: Path, home: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, str(NURSERY), str(path)], {**os.environ, "PYTHONPATH": home}


@contextmanager
def _outer(mutant: Mutant | None) -> Iterator[SomeBench]:
    entry = registry.find("torch")
    with TemporaryDirectory() as folder, ExitStack() as stack:
        if mutant:
            package = Path(folder, "mutated_torch")
            package.mkdir()
            for path in ALONG:
                source = mutant.source if ROOT / mutant.file == path else path.read_text()
                (package / path.name).write_text(_apart(source, path.parent == BACKENDS))
            sys.path.insert(0, folder)
            entry = replace(entry, module=package.name)
        yield OuterBench(entry, stack)


def _apart(source: str, beside: bool) -> str:
    """``source`` of a module of the torch backend, or of one ``beside`` it, as one of a package elsewhere."""
    source = source.replace("from ..bookkeeping import", "from .bookkeeping import")
    source = re.sub(r"^from \.\.\.(?=\w)", "from vgg.", source, flags=re.MULTILINE)
    source = re.sub(r"^from \.\.(?=\w)", "from vgg.", source, flags=re.MULTILINE)
    return source.replace("from . import" if beside else "from .. import", "from vgg.backends import")


def _mutated(path: Path, mutant: Mutant | None, folder: str) -> Path:
    """``path``, or if ``mutant`` is of that file, a file in ``folder`` with its text."""
    if not mutant or ROOT / mutant.file != path:
        return path
    changed = Path(folder, path.name)
    changed.write_text(mutant.source)
    return changed


def _inner_cells() -> dict[str, Judge]:
    """The suite's, and those of batch norm once more for torch's running variance."""

    def unbiased(cell: Judge) -> Judge:
        def judge(bench: SuiteBench) -> Verdict:
            inner = cast("InnerBench", bench)
            return cell(InnerBench(inner.mutant, inner.raised, unbiased=True))

        return judge

    suite = cells()
    again = {name: cell for name, cell in suite.items() if "batch_norm" in name or "variance" in name}
    return {**suite, **{f"{name} unbiased": unbiased(cell) for name, cell in again.items()}}


_LEFT_OUT = {
    *("module", "forward", "trace", "loss_and_grads", "_pure", "facts", "learner", "setup"),
    *("_replicated", "_mean", "tf32"),  # a GPU's and replicas'
    "_layout",  # what is fast
}
"""Of torch's backend, what does not build, load, dump or learn on a CPU."""


def _of_interest(function: str) -> bool:
    return function not in _LEFT_OUT


class Target(NamedTuple):
    """The files that are mutated, which of their functions, and how a mutant (none: the healthy code) is judged."""

    files: tuple[Path, ...]
    wanted: Callable[[str], bool]
    bench: Callable[[Mutant | None], AbstractContextManager[SomeBench]]
    suite: Callable[[], dict[str, Judge]]
    ready: Callable[[], AbstractContextManager[None]] = nullcontext

    def mutants(self) -> list[Mutant]:
        return [mutant for path in self.files for mutant in mutating.mutants(path, self.wanted)]


TARGETS = {
    "oracle": Target((REFERENCE, ORACLE), bool, lambda mutant: nullcontext(InnerBench(mutant, [])), _inner_cells),
    "torch": Target(TORCH, _of_interest, _outer, cells, _torchs_nursery),
}
