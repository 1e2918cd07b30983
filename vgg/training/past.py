"""What an earlier process left of a run: a state, its place and the rows before it, checked before anything goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..backends import check_state
from ..core import files
from ..core.errors import mismatch, within
from ..core.layers import STATISTICS
from ..core.params import Params
from ..core.recipe import Recipe
from ..core.spec import Spec
from .batches import Place, Steps
from .checkpoints import Checkpoints
from .history import CUT, NAME, History, lost

FILES = ("run.json", NAME, CUT, "weights.safetensors", "evaluation.json", "report.html")
"""The files of a run directory, beside the folders ``checkpoints`` and ``tensorboard``."""


@dataclass(frozen=True, eq=False)
class Past:
    """The ``state`` of a learner, None at the start; the ``place`` of the next step; the ``history`` before it."""

    state: Params | None
    place: Place
    history: History


def past(run: Path, spec: Spec, recipe: Recipe, steps: Steps, fingerprint: Mapping[str, str]) -> Past:
    """Read what the run directory ``run`` holds of a run of this spec, recipe and data.

    Raises ``VGGError``, which names the file and what is wrong with it, when a checkpoint is not one of this run, when
    it is damaged, when rows before it are missing, or when the run has a history and no checkpoint.
    """
    for name in FILES:
        files.check_kind(run / name)
    files.check_kind(run / "tensorboard", "a directory")
    checkpoints = Checkpoints(run, 0, fingerprint)
    state, place = checkpoints.last() or (None, (0, 0))
    if checkpoints.lost():
        raise lost(run, "a folder of checkpoints without one")
    if state is not None:
        _check(str(checkpoints.paths()[-1]), state, place, spec, recipe, steps)
    history = History(run, steps, "validation" if recipe.validation else "test")
    history.load(place)
    if checkpoints.rows not in ("", history.digest()):
        do = "put the file back, or start a new run from a checkpoint by --init-from"
        raise mismatch(str(run / NAME), "other rows than those before the checkpoint", "them as vgg wrote them", do)
    return Past(state, place, history)


def _check(where: str, state: Params, place: Place, spec: Spec, recipe: Recipe, steps: Steps) -> None:
    """Raise ``VGGError`` unless ``state`` is what a learner of this run has at ``place``."""
    last = (recipe.epochs, 0)
    if not ((0, 0) < place <= last and place[1] <= steps.per_epoch):
        raise mismatch(f"{where}: place", list(place), f"one in {recipe.epochs} epochs of {steps.per_epoch} steps")
    with within(where):
        check_state(state, spec)
    for name, array in state.items():
        kinds = ("float32", "float64") if name.endswith(STATISTICS) else (recipe.dtype,)
        if array.dtype.kind not in "iu" if name == "step" else array.dtype.name not in kinds:
            raise mismatch(f"{where}: {name}", array.dtype, "an integer" if name == "step" else " or ".join(kinds))
    if int(state["step"]) != steps.before(place):
        raise mismatch(f"{where}: step", int(state["step"]), steps.before(place))
