"""A cell of the matrix: its judge, and what a backend must claim before the cell judges it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..core.comparator import Verdict
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs


class NotJudgedError(Exception):
    """A cell cannot judge its backend, because another backend is at fault."""


class Bench(Protocol):
    """The workers that a cell may use."""

    def worker(self) -> Jobs:
        """Return the worker of the backend that is judged."""
        ...

    def fresh(self) -> AbstractContextManager[Jobs]:
        """Return another worker of the same backend, in its own process."""
        ...

    def source(self, name: str) -> Jobs:
        """Return the worker of another backend."""
        ...

    def script(self, spec: Spec, *, recipe: Recipe | None = None, weights: Path | None = None) -> str | None:
        """Return the script that ``vgg code`` prints for the judged backend, or None if it offers no code."""
        ...


Write = Callable[..., str | None]
"""``Bench.script``."""
Judge = Callable[[Bench], Verdict]


@dataclass(frozen=True)
class Cell:
    """One row of the matrix. Calling it judges the backend that a bench holds.

    A backend is judged only if it claims ``level`` (``inference``, ``gradients`` or ``training``) and ``dtypes``, the
    dtypes of the models that the cell builds. A ``thorough`` cell runs only under ``--thorough``.
    """

    judge: Judge
    level: str
    dtypes: tuple[str, ...] = ("float64",)
    thorough: bool = False

    def __call__(self, bench: Bench) -> Verdict:
        """Return the verdict on the backend of ``bench``."""
        return self.judge(bench)


def on(check: Callable[..., Verdict], *arguments: object) -> Judge:
    """Return a judge that calls ``check`` with the worker of the judged backend and ``arguments``."""
    return lambda bench: check(bench.worker(), *arguments)
