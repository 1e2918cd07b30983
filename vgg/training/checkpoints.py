"""The initial parameters of a run, and its checkpoints.

A checkpoint is the learner's state as a safetensors file, with the place in the run in its metadata.
"""

from __future__ import annotations

import errno
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
from ..core.params import Params, check_finite, load_params
from ..core.recipe import Recipe
from ..core.spec import Spec

Place = tuple[int, int]
"""(epoch, step in that epoch) of the next step, both counted from 0."""


class Checkpoints:
    """The checkpoints in ``run/checkpoints``. The last ``keep`` are kept; if that is 0, none is written."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / "checkpoints", keep

    def paths(self) -> list[Path]:
        """Return the paths of the checkpoints, the oldest first."""
        return sorted(self.folder.glob("epoch-*.safetensors"))

    def save(self, state: Params, place: Place, spec: Spec) -> None:
        """Write a checkpoint, completely or not at all; then remove those that are too old.

        ``spec`` is stored with it, so that another run can start from it. Raises ``VGGError`` when it cannot be
        written.
        """
        if not self.keep:
            return
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "epoch-{:04d}-step-{:06d}.safetensors".format(*place)
        write_atomically(path, save(state, metadata={"place": json.dumps(place), "spec": spec.to_json()}))
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def place(self) -> Place | None:
        """Return the place of the newest checkpoint, from its name, or None when there is no checkpoint."""
        if not self.paths():
            return None
        _, epoch, _, step = self.paths()[-1].stem.split("-")
        return int(epoch), int(step)

    def last(self) -> tuple[Params, Place] | None:
        """Read the (state, place) of the newest checkpoint, or return None when there is no checkpoint.

        Raises ``VGGError`` when it cannot be read.
        """
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
    """Lock the run directory during the block: two processes in one run would destroy each other's files.

    Raises ``VGGError`` when another process has locked it. A disk that does not support locks is not locked.
    """
    try:
        descriptor = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise unwritable(run, error) from error
    try:
        _lock(run, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(run: Path, descriptor: int) -> None:
    import fcntl  # Windows has none

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise mismatch(str(run), "a run that another process is at", "one alone", "end that first") from error
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise unwritable(run, error) from error


def initial(spec: Spec, recipe: Recipe) -> Params:
    """Return the parameters that a run starts from, ``{canonical name: array}`` of the recipe's dtype.

    They are drawn; if ``recipe.init_from`` names a file of weights or a checkpoint, some are replaced by those in it.
    Raises ``VGGError`` when that file is not readable or not finite, or no layer in it fits.
    """
    fresh = init(spec, recipe.seed, recipe.init, recipe.dtype)
    if not recipe.init_from:
        return fresh
    stored = load_params(recipe.init_from, among=True)
    check_finite(stored, recipe.init_from)
    weights = {n.removesuffix(".weight"): a.shape for n, a in stored.items() if n.endswith(".weight")}
    convs = [layer for layer, shape in weights.items() if len(shape) == 4][: recipe.init_convs or None]
    wanted = {*convs, *(layer.replace("conv", "bn") for layer in convs), *(n for n in weights if n.startswith("fc"))}
    fits = {n for n, shape in weights.items() if n in wanted and fresh.get(f"{n}.weight", np.empty(0)).shape == shape}
    copies = {n: a.astype(recipe.dtype) for n, a in stored.items() if n.rpartition(".")[0] in fits and n in fresh}
    if not copies:
        raise mismatch(recipe.init_from, "no layer of the same name and shape", f"one of {spec.name}'s")
    return fresh | copies
