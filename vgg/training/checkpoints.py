"""The initial parameters of a run, and its checkpoints.

A checkpoint is the learner's state as a safetensors file. Its metadata hold its place in the run, the fingerprint of
the run, and a checksum.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from ..core.errors import VGGError, mismatch, unknown
from ..core.files import check_kind, drafts, no_empty_folder, sweep, unwritable, write_atomically
from ..core.init import init
from ..core.params import Params, check_finite, load_params
from ..core.recipe import Recipe
from ..core.spec import Spec
from .batches import Place
from .fingerprint import checksum, differences

_NAME = re.compile(r"epoch-([0-9]{4,})-step-([0-9]{6,})\.safetensors")
_METADATA = {"spec", "recipe", "data", "place", "rows"}
_DO = "remove it to go on from the one before, or start a new run if there is none"


def name_of(place: Place) -> str:
    """Return the name of the file of the checkpoint at ``place``."""
    return "epoch-{:04d}-step-{:06d}.safetensors".format(*place)


def place_of(name: str) -> Place | None:
    """Return the place of the checkpoint in a file of this name, or None when that is not the name of a checkpoint."""
    numbers = _NAME.fullmatch(name)
    place = (int(numbers[1]), int(numbers[2])) if numbers else None
    return place if place and name == name_of(place) else None


def _is_ours(name: str) -> bool:
    return place_of(name) is not None


class Checkpoints:
    """The checkpoints in ``run/checkpoints``. The last ``keep`` are kept; if that is 0, none is written.

    A checkpoint carries the ``fingerprint`` of its run, and one with another fingerprint is refused. ``rows`` is what
    the checkpoint that was read last says of the metrics before it: their digest, or nothing in earlier versions.
    """

    rows = ""

    def __init__(self, run: Path, keep: int, fingerprint: Mapping[str, str] | None = None) -> None:
        self.folder, self.keep, self.fingerprint = run / "checkpoints", keep, dict(fingerprint or {})

    def paths(self) -> list[Path]:
        """Return the paths of the checkpoints, the oldest first. Files of other names are somebody else's.

        Raises ``VGGError`` when the folder cannot be read.
        """
        if not os.path.lexists(self.folder):
            return []
        check_kind(self.folder, "a directory")
        try:
            places = sorted(place for path in self.folder.iterdir() if (place := place_of(path.name)))
        except OSError as error:
            raise VGGError(f"{self.folder}: cannot be read ({error.strerror}); give yourself the right to") from error
        return [self.folder / name_of(place) for place in places]

    def save(self, state: Params, place: Place, spec: Spec, rows: str = "") -> None:
        """Write a checkpoint, completely or not at all; then remove those that are too old.

        ``spec`` is stored with it, so that another run can start from it, and so is the digest of the ``rows`` of
        metrics before it. Raises ``VGGError`` when it cannot be written.
        """
        if not self.keep:
            return
        about = {"spec": spec.to_json(), **self.fingerprint, "place": json.dumps(place)} | (
            {"rows": rows} if rows else {}
        )
        data = save(state, metadata={**about, "checksum": checksum(state, about)})
        first = not self.folder.is_dir()
        folder = self.folder.with_name(f".{self.folder.name}.{os.getpid()}") if first else self.folder
        with no_empty_folder(folder):
            folder.mkdir(exist_ok=True)
            write_atomically(folder / name_of(place), data, self.folder / name_of(place))
            if first:
                folder.rename(self.folder)
        for old in self.paths()[: -self.keep]:
            old.unlink()

    def lost(self) -> bool:
        """Return whether there is no checkpoint although there has been one.

        The folder appears with its first checkpoint; an earlier version made it before, and then wrote a draft there.
        """
        return self.folder.exists() and not self.paths() and not drafts(self.folder, _is_ours)

    def sweep(self) -> None:
        """Remove what a killed process left of a checkpoint that it was writing, and nothing else."""
        sweep(self.folder, _is_ours)
        for folder in self.folder.parent.glob(f".{self.folder.name}.*"):
            if folder.name.rpartition(".")[2].isdecimal() and folder.is_dir():
                sweep(folder, _is_ours)
                for path in folder.glob("epoch-*"):
                    if _is_ours(path.name):
                        path.unlink()
                with suppress(OSError):  # somebody else's files are in it
                    folder.rmdir()

    def place(self) -> Place | None:
        """Return the place of the newest checkpoint, from its name, or None when there is no checkpoint."""
        paths = self.paths()
        return place_of(paths[-1].name) if paths else None

    def last(self) -> tuple[Params, Place] | None:
        """Read the (state, place) of the newest checkpoint, or return None when there is no checkpoint.

        Raises ``VGGError`` when it cannot be read, was changed, or belongs to another run.
        """
        paths = self.paths()
        if not paths:
            return None
        for path in paths:
            check_kind(path)
        state, about = read(paths[-1])
        place = place_of(paths[-1].name) or (0, 0)
        self._check(paths[-1], about, place)
        self.rows = about.get("rows", "")
        return state, place

    def _check(self, path: Path, about: dict[str, str], place: Place) -> None:
        """Raise ``VGGError`` unless the metadata of a checkpoint are those of this run and of ``place``."""
        try:
            for name in about.keys() - _METADATA:
                raise unknown("key in the metadata", name, _METADATA)
            got, lines = json.loads(about["place"]), differences(about, self.fingerprint)
        except (VGGError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise VGGError(f"{path}: not a readable checkpoint ({error}); {_DO}") from error
        if got != list(place):
            raise mismatch(f"{path}: place", got, list(place), _DO)
        if lines:
            raise VGGError(f"{path}: {lines}; it belongs to another run, so move it elsewhere")


def read(path: Path) -> tuple[Params, dict[str, str]]:
    """Return the arrays and the metadata of a checkpoint.

    Raises ``VGGError`` when it cannot be read, or when it is not what its checksum says. Earlier versions wrote neither
    checksum nor fingerprint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = dict(file.metadata() or {})
        state = load_file(path)
    except (SafetensorError, OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise VGGError(f"{path}: not a readable checkpoint ({error}); {_DO}") from error
    got = about.pop("checksum", None)
    wanted = checksum(state, about)
    if got != wanted and (got or "recipe" in about):
        raise mismatch(f"{path}: checksum", str(got)[:12], wanted[:12], f"its contents were changed; {_DO}")
    return state, about


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
    Raises ``VGGError`` when that file is not readable, was changed, is not finite, or no layer in it fits.
    """
    fresh = init(spec, recipe.seed, recipe.init, recipe.dtype)
    if not recipe.init_from:
        return fresh
    stored = load_params(recipe.init_from, among=True)
    read(Path(recipe.init_from))
    check_finite(stored, recipe.init_from)
    weights = {n.removesuffix(".weight"): a.shape for n, a in stored.items() if n.endswith(".weight")}
    convs = [layer for layer, shape in weights.items() if len(shape) == 4][: recipe.init_convs or None]
    wanted = {*convs, *(layer.replace("conv", "bn") for layer in convs), *(n for n in weights if n.startswith("fc"))}
    fits = {n for n, shape in weights.items() if n in wanted and fresh.get(f"{n}.weight", np.empty(0)).shape == shape}
    with np.errstate(over="ignore"):  # what overflows is refused by name
        copies = {n: a.astype(recipe.dtype) for n, a in stored.items() if n.rpartition(".")[0] in fits and n in fresh}
    check_finite(copies, f"{recipe.init_from}, as {recipe.dtype}")
    if not copies:
        raise mismatch(recipe.init_from, "no layer of the same name and shape", f"one of {spec.name}'s")
    return fresh | copies
