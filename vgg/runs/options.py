"""The options of a run: ``Task`` holds what its numbers depend on, ``Setup`` where it runs and what it keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.architectures import arch as named_arch
from ..core.errors import mismatch, unknown
from ..core.recipe import Recipe, recipe
from ..core.spec import Spec

if TYPE_CHECKING:
    from ..process.client import Worker
    from ..process.registry import Entry
    from ..training.data import Dataset

QUICK = {"digits": "quick", "fashion-mnist": "quick-fashion", "synthetic": "quick"}
"""Dataset -> the recipe that it gets when no recipe is named."""


@dataclass(frozen=True)
class Setup:
    """Where a run happens, and what it keeps.

    ``device``: cpu, gpu, or auto. ``env``: auto, current, or uv. ``timeout``: seconds that a worker may be silent.
    ``replicas``: number of devices that share every batch. ``deterministic``: add in the same order on a GPU too.
    ``keep``: number of checkpoints to keep, 0 to write none. ``every``: steps between checkpoints within an epoch, 0
    for none. ``tensorboard``: write event files.
    """

    device: str = "cpu"
    env: str = "auto"
    timeout: float = 900
    replicas: int = 1
    deterministic: bool = False
    keep: int = 2
    every: int = 0
    tensorboard: bool = False

    def worker(self, entry: Entry) -> Worker:
        """Start a worker for the backend ``entry`` and return it; the caller closes it. Raises ``BackendError``."""
        from ..process.client import Worker
        from ..process.tuning import deterministic

        variables = deterministic(entry.variables) if self.deterministic else None
        where: dict[str, Any] = {name: getattr(self, name) for name in ("env", "timeout", "device", "replicas")}
        return Worker(entry, **where, variables=variables)

    def with_options(self, options: Mapping[str, Any]) -> Setup:
        """Return a copy of this setup with the ``options`` that are not None; other names than its own are ignored."""
        names = {field.name for field in fields(Setup)}
        return replace(self, **{name: value for name, value in options.items() if name in names and value is not None})

    def recorded(self) -> dict[str, Any]:
        """Return the fields that ``run.json`` records, with which a resumed run continues."""
        return {name: value for name, value in asdict(self).items() if name not in ("env", "timeout")}


@dataclass(frozen=True, eq=False)
class Task:
    """What the numbers of a run depend on. ``data`` is the folder of the dataset's files, or None for the default."""

    spec: Spec
    recipe: Recipe
    dataset: Dataset
    data: str | None = None


def spec_of(
    arch: str | Path | Spec, *, narrow: int | None = None, input_shape: Any = None, classes: int | None = None
) -> Spec:
    """Return the spec that ``arch`` means, with the changes that the other arguments ask for.

    ``arch`` is a spec, the name of an architecture, or the path of a JSON or TOML file. ``narrow`` divides the channels
    of every convolution; ``input_shape`` is (channels, height, width), or a text such as 3x224x224; ``classes`` is the
    width of the logits. Raises ``VGGError`` when the result is not a network.
    """
    changes: dict[str, Any] = {
        "input_shape": _shape(input_shape),
        "classes": classes,
        "narrow": 1 if narrow is None else narrow,
    }
    if isinstance(arch, Spec):
        return arch.modified(**changes)
    return Spec.load(arch).modified(**changes) if is_file(arch) else named_arch(str(arch), **changes)


def is_file(arch: str | Path) -> bool:
    """Return whether ``arch`` is the path of a file, and not the name of an architecture."""
    return not isinstance(arch, str) or arch.endswith((".json", ".toml")) or os.sep in arch


def recipe_of(base: str | Recipe | None, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe ``base``, or the recipe of that name, with the ``changes`` that are not None.

    Without ``base`` it is the quick recipe of the dataset. Raises ``VGGError`` for an unknown name or a wrong value.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    names = [field.name for field in fields(Recipe)]
    for name in changes:
        if name not in names:
            raise unknown("field of a recipe", name, names)
    if isinstance(changes.get("init_from"), (str, Path)):
        weights = Path(changes["init_from"])
        changes["init_from"] = str((weights / "weights.safetensors" if weights.is_dir() else weights).absolute())
    if isinstance(base, Recipe):
        return replace(base, **changes)
    return recipe(base or QUICK.get(changes.get("dataset") or "digits", "quick"), **changes)


def task(
    arch: str | Path | Spec,
    plan: Recipe,
    data: str | Path | None,
    *,
    narrow: int | None = None,
    input_shape: Any = None,
    classes: int | None = None,
) -> Task:
    """Return the task of training ``arch`` by the recipe ``plan``.

    An architecture that is given by name takes its input shape and its classes from the dataset, unless
    ``input_shape`` and ``classes`` set them; a spec or a file keeps its own. Raises ``VGGError`` when the network does
    not fit the dataset or the dataset cannot be read.
    """
    dataset, folder = read_data(plan, data)
    changes = {"narrow": narrow, "input_shape": input_shape, "classes": classes}
    spec = fitted(arch, (dataset.channels, plan.size, plan.size), dataset.classes, **changes)
    _check_fit(spec, dataset)
    return Task(spec, plan, dataset, folder)


def fitted(arch: str | Path | Spec, shape: tuple[int, int, int], count: int, **changes: Any) -> Spec:
    """Return the spec that ``arch`` means, with the ``changes`` that ``spec_of`` accepts.

    An architecture that is given by name takes the input ``shape`` and ``count`` classes of a dataset, unless
    ``changes`` set them.
    """
    spec = spec_of(arch, **changes)
    if isinstance(arch, str) and not is_file(arch):
        own = spec.input_shape if changes["input_shape"] else shape
        spec = spec.modified(input_shape=own, classes=changes["classes"] or count)
    return spec


def read_data(plan: Recipe, folder: str | Path | None) -> tuple[Dataset, str | None]:
    """Return the dataset of the recipe ``plan``, and the absolute path of its ``folder``, if one is given.

    Raises ``VGGError`` when the dataset cannot be read.
    """
    from ..training import data

    return data.load(plan.dataset, folder), str(Path(folder).absolute()) if folder else None


def _check_fit(spec: Spec, dataset: Dataset) -> None:
    if spec.input_shape[0] != dataset.channels:
        wanted = f"{dataset.channels}, as {dataset.name} has"
        raise mismatch("input channels", spec.input_shape[0], wanted, f"use --input {dataset.channels}xHxW")
    if spec.classes < dataset.classes:
        raise mismatch("--classes", spec.classes, f"at least {dataset.classes}, as {dataset.name} has")


def weights_of(spec: Spec, path: str | Path | None) -> Path | None:
    """Return the path of weights that a script loads. Raises ``VGGError`` when the file is here and of another network.

    A file that is not here may be where the script runs.
    """
    from ..core.params import load_spec, shapes

    if path is None:
        return None
    file = Path(path).expanduser()
    if file.exists() and shapes(load_spec(file)) != shapes(spec):
        raise mismatch(str(file), f"weights of another network than {spec.name}", "its own", "see vgg show")
    return file


def new_path(name: str) -> Path:
    """Return the default path of a result: ``runs/NAME-DATE-TIME``."""
    return Path(f"runs/{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")


def _shape(shape: Any) -> Sequence[int] | None:
    if not isinstance(shape, str):
        return None if shape is None else tuple(shape)
    parts = shape.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise mismatch("--input", shape, "channels x height x width, as in 3x224x224")
    return [int(part) for part in parts]
