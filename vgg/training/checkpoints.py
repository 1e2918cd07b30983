"""What a run starts from, and what it goes on from: the learner's state as safetensors, the place in its metadata."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from ..core.errors import VGGError, mismatch
from ..core.files import unwritable, write_atomically
from ..core.init import init
from ..core.params import Params, load_params
from ..core.recipe import Recipe
from ..core.spec import Spec

Place = tuple[int, int]
"""(epoch, step in it) of the step to be taken next."""


class Checkpoints:
    """Those in ``run/checkpoints``; the last ``keep`` stay, none is written if that is 0."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / "checkpoints", keep

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("epoch-*.safetensors"))

    def save(self, state: Params, place: Place, spec: Spec) -> None:
        """Write one, aside first; then remove what is too old. ``spec`` is for those who start from it."""
        if not self.keep:
            return
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "epoch-{:04d}-step-{:06d}.safetensors".format(*place)
        write_atomically(path, save(state, metadata={"place": json.dumps(place), "spec": spec.to_json()}))
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def place(self) -> Place | None:
        """Of the newest, by its name."""
        if not self.paths():
            return None
        _, epoch, _, step = self.paths()[-1].stem.split("-")
        return int(epoch), int(step)

    def last(self) -> tuple[Params, Place] | None:
        """(state, place) of the newest; ``VGGError`` where it cannot be read."""
        if not self.paths():
            return None
        path = self.paths()[-1]
        try:
            with safe_open(path, framework="numpy") as file:
                epoch, step = json.loads(file.metadata()["place"])
            return load_file(path), (epoch, step)
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            raise VGGError(
                f"{path}: not a readable checkpoint ({error}); remove it to go on from the one before"
            ) from error


@contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """Hold the directory: two processes in one run would ruin each other's files. Not where its disk has no locks."""
    try:
        place = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise unwritable(run, error) from error
    try:
        _lock(run, place)
        yield
    finally:
        os.close(place)


def _lock(run: Path, place: int) -> None:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise mismatch(str(run), "a run that another process is at", "one alone", "end that first") from error
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise unwritable(run, error) from error


def initial(spec: Spec, recipe: Recipe) -> Params:
    """The parameters that a run starts from: drawn, or some of them those of ``recipe.init_from``, which may be a
    checkpoint.
    """
    drawn = init(spec, recipe.seed, recipe.init, recipe.dtype)
    if not recipe.init_from:
        return drawn
    given = load_params(recipe.init_from, among=True)
    weights = {n.removesuffix(".weight"): a.shape for n, a in given.items() if n.endswith(".weight")}
    convs = [layer for layer, shape in weights.items() if len(shape) == 4][: recipe.init_convs or None]
    wanted = {*convs, *(layer.replace("conv", "bn") for layer in convs), *(n for n in weights if n.startswith("fc"))}
    fits = {n for n, shape in weights.items() if n in wanted and drawn.get(f"{n}.weight", np.empty(0)).shape == shape}
    taken = {n: a.astype(recipe.dtype) for n, a in given.items() if n.rpartition(".")[0] in fits and n in drawn}
    if not taken:
        raise mismatch(recipe.init_from, "no layer of the same name and shape", f"one of {spec.name}'s")
    return drawn | taken
