"""The schedule of a comparison: which backends train with which seeds, in which order, and in which directories."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core import limits
from ..core.errors import VGGError, mismatch
from ..core.files import check_folder, unwritable
from ..process import registry
from ..training.checkpoints import Checkpoints, alone_in
from ..training.fingerprint import digest
from .directory import run_path
from .options import Setup, Task
from .train import PARTS, Prepared

ASIDE = "aside"
"""The folder in a comparison's directory for unfinished runs that were begun anew."""


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """Return ``count`` seeds from ``first`` on. Raises ``VGGError`` when the last is greater than a recipe's may be."""
    most = limits.SEED - first + 1
    if count > most:
        raise mismatch("--seeds", count, f"at most {most} from seed {first} on, since no seed exceeds {limits.SEED}")
    return tuple(range(first, first + count))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Each of the backends ``names`` trains ``task`` once per seed in ``seeds``, in a directory below ``place``.

    The seeds are the outer loop: backends that are compared run soon after one another, on a machine that is equally
    busy, and an interrupted comparison has complete pairs.
    """

    place: Path
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    task: Task
    setup: Setup

    def order(self) -> list[tuple[str, int]]:
        """Return the (backend, seed) of every run, in the order of training."""
        return [(name, seed) for seed in self.seeds for name in self.names]

    def run(self, name: str, seed: int) -> Prepared:
        """Return the run of a backend and a seed, which continues if there is a checkpoint in its directory."""
        path, plan = self.path(name, seed), replace(self.task.recipe, seed=seed)
        resume = bool(Checkpoints(path, 0).paths())
        return Prepared(registry.find(name), path, replace(self.task, recipe=plan), self.setup, resume)

    def path(self, name: str, seed: int) -> Path:
        """Return the directory of a run."""
        return run_path(self.place, name, seed, self.seeds)

    def location(self, name: str, seed: int) -> Path:
        """Return where a run is now: the first of a comparison to which seeds were added may be elsewhere yet."""
        moves = [self._moving(name) / f"seed-{seed}", self.path(name, seed)]
        if seed == self.seeds[0] and os.path.lexists(self.place / name / "run.json"):
            moves.insert(0, self.place / name)
        return next((path for path in moves if os.path.lexists(path)), moves[-1])

    def spread(self) -> None:
        """Move the only runs of their backends to where the first of several belong. It may be repeated at any point.

        Raises ``VGGError`` when that is not possible.
        """
        for name in self.names:
            run, moving = self.place / name, self._moving(name)
            check_folder(moving)
            try:
                if len(self.seeds) > 1 and os.path.lexists(run / "run.json"):
                    moving.mkdir(exist_ok=True)
                    run.rename(moving / f"seed-{self.seeds[0]}")
                if moving.is_dir():
                    moving.rename(run)
            except OSError as error:
                raise unwritable(run, error) from error

    def _moving(self, name: str) -> Path:
        return self.place / f".{name}.moving"

    def put_aside(self, name: str, seed: int) -> Path | None:
        """Move what an unfinished run without a checkpoint left to the folder ``aside``, and return where it is now.

        Return None when it left nothing, or a checkpoint to go on from. Raises ``VGGError`` when it cannot be moved,
        something else is called ``aside``, or another process is using it.
        """
        path = self.path(name, seed)
        if not os.path.lexists(path) or Checkpoints(path, 0).paths():
            return None
        names = (self.place / ASIDE / f"{name}-seed-{seed}-{number}" for number in range(1, limits.COUNT))
        check_folder(self.place / ASIDE)
        target = next(one for one in names if not os.path.lexists(one))
        with alone_in(path):
            try:
                target.parent.mkdir(exist_ok=True)
                path.rename(target)
            except OSError as error:
                raise unwritable(target, error) from error
        return target

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the images, the labels and the file of weights that the runs start from, if there is one."""
        arrays = {part: getattr(self.task.dataset, part) for part in PARTS}
        weights = self.task.recipe.init_from
        try:
            start = {"init_from": np.fromfile(weights, np.uint8)} if weights else {}
        except OSError as error:
            raise VGGError(f"{weights}: cannot be read ({error.strerror}); put it back") from error
        return digest(arrays | start)

    def options(self) -> dict[str, Any]:
        """Return what ``compare.json`` records of the options, with which the comparison can go on."""
        return {"backends": list(self.names), "data": self.task.data, "digest": self.digest, **asdict(self.setup)}
