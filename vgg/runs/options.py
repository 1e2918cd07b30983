"""The options of a run: ``Task`` holds what its numbers depend on, ``Setup`` where it runs and what it keeps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import limits
from ..core.architectures import arch as named_arch
from ..core.blocks import settle
from ..core.errors import mismatch
from ..core.files import path_of
from ..core.recipe import FIELDS, Recipe, recipe
from ..core.spec import Spec, channels_last
from ..core.texts import for_path, one_line, shown
from ..core.values import boolean, choice, integer, named, number

if TYPE_CHECKING:
    from ..process.client import Worker
    from ..process.registry import Entry
    from ..training.data import Dataset

QUICK = {"digits": "quick", "fashion-mnist": "quick-fashion", "synthetic": "quick"}
"""Dataset -> the recipe that it gets when no recipe is named."""
CHANGEABLE = tuple(name for name in FIELDS if name != "name")
"""The fields of a recipe that an option may change."""
DEVICES, ENVS = ("cpu", "gpu", "auto"), ("auto", "current", "uv")


@dataclass(frozen=True)
class Setup:
    """Where a run happens, and what it keeps.

    ``device``: cpu, gpu, or auto. ``env``: auto, current, or uv. ``timeout``: seconds that a worker may be silent.
    ``replicas``: number of devices that share every batch. ``deterministic``: add in the same order on a GPU too.
    ``keep``: number of checkpoints to keep, 0 to write none. ``every``: steps between checkpoints within an epoch, 0
    for none. ``tensorboard``: write event files. Raises ``VGGError`` when a value is wrong.
    """

    device: str = "cpu"
    env: str = "auto"
    timeout: float = 900
    replicas: int = 1
    deterministic: bool = False
    keep: int = 2
    every: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        longest = threading.TIMEOUT_MAX
        wanted = f"a number of seconds > 0 and < {longest:g}"
        values: dict[str, Any] = {
            "device": choice("--device", self.device, DEVICES),
            "env": choice("--env", self.env, ENVS),
            "timeout": number("--timeout", self.timeout, wanted, lambda seconds: 0 < seconds < longest),
            "replicas": integer("--replicas", self.replicas, 1, limits.BATCH),
            "deterministic": boolean("--deterministic", self.deterministic),
            "keep": integer("--keep", self.keep, 0),
            "every": integer("--every", self.every, 0),
            "tensorboard": boolean("--tensorboard", self.tensorboard),
        }
        settle(self, **values)
        if self.every and not self.keep:
            raise mismatch("--every", self.every, "0 with --keep 0, which writes no checkpoint", "keep 1 or more")

    def worker(self, entry: Entry, *, launched: bool = False) -> Worker:
        """Start a worker for the backend ``entry`` and return it; the caller closes it. Raises ``BackendError``.

        ``launched`` says that this process is one of several of a launcher's, with which the worker trains.
        """
        from ..process.client import Worker
        from ..process.tuning import deterministic

        variables = deterministic(entry.variables) if self.deterministic else None
        where: dict[str, Any] = {name: getattr(self, name) for name in ("env", "timeout", "device", "replicas")}
        return Worker(entry, **where, variables=variables, launched=launched)

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
    if not isinstance(arch, (str, os.PathLike)):
        raise mismatch("ARCH", shown(arch), "a Spec, the name of an architecture, or the path of a file")
    if is_file(arch):
        return Spec.load(arch).modified(**changes)
    if "." in str(arch):
        wanted = "the name of an architecture, or a file whose name ends in .json or .toml"
        raise mismatch("ARCH", shown(str(arch)), wanted, "see vgg list")
    return named_arch(str(arch), **changes)


def is_file(arch: str | Path) -> bool:
    """Return whether ``arch`` is the path of a file, and not the name of an architecture."""
    return not isinstance(arch, str) or arch.lower().endswith((".json", ".toml")) or os.sep in arch or arch[:1] == "~"


def recipe_of(base: str | Recipe | None, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe ``base``, or the recipe of that name, with the ``changes`` that are not None.

    Without ``base`` it is the quick recipe of the dataset. Raises ``VGGError`` for an unknown name or a wrong value.
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    named("recipe", changes, CHANGEABLE)
    weights = changes.get("init_from", base.init_from if isinstance(base, Recipe) else "")
    if "init_from" in changes or weights:
        changes["init_from"] = _weights(weights)
    if isinstance(base, Recipe):
        plan = replace(base, **changes)
    else:
        dataset = changes.get("dataset", "digits")
        quick = QUICK.get(dataset, "quick") if isinstance(dataset, str) else "quick"
        plan = recipe(quick if base is None else base, **changes)
    if "init_convs" in changes and plan.init_convs and not plan.init_from:
        raise mismatch("recipe.init_convs", plan.init_convs, "weights to take them from", "add --init-from")
    return plan


def _weights(path: Any) -> str:
    """Return the absolute path of the weights that ``path`` names: the file, or that in the directory of a run."""
    weights = path_of("--init-from", path).absolute()
    return str(weights / "weights.safetensors" if os.path.isdir(weights) else weights)  # noqa: PTH112


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
    from ..core.init import check_scheme  # it imports NumPy, without which vgg show starts twice as fast
    from ..core.params import load_spec

    check_scheme(plan.init)
    if plan.init_from:
        load_spec(plan.init_from)
    changes = {"narrow": narrow, "input_shape": input_shape, "classes": classes}
    spec_of(arch, **changes)  # what is wrong with it is said before the dataset is read
    dataset, folder = read_data(plan, data)
    spec = fitted(arch, (dataset.channels, plan.size, plan.size), dataset.classes, **changes)
    check_fit(spec, plan, dataset)
    return Task(spec, plan, dataset, folder)


def fitted(arch: str | Path | Spec, shape: tuple[int, int, int], count: int, **changes: Any) -> Spec:
    """Return the spec that ``arch`` means, with the ``changes`` that ``spec_of`` accepts.

    An architecture that is given by name takes the input ``shape`` and ``count`` classes of a dataset, unless
    ``changes`` set them.
    """
    spec = spec_of(arch, **changes)
    if isinstance(arch, str) and not is_file(arch):
        own = spec.input_shape if changes["input_shape"] is not None else shape
        spec = spec.modified(input_shape=own, classes=changes["classes"] or count)
    return spec


def read_data(plan: Recipe, folder: str | Path | None) -> tuple[Dataset, str | None]:
    """Return the dataset of the recipe ``plan``, and the absolute path of its ``folder``, if one is given.

    Raises ``VGGError`` when the dataset cannot be read.
    """
    from ..training import data

    folder = None if folder is None else str(path_of("--data", folder).absolute())
    return data.load(plan.dataset, folder), folder


def check_fit(spec: Spec, plan: Recipe, dataset: Dataset) -> None:
    """Raise ``VGGError`` when the network does not fit the dataset, or some batch of the recipe cannot be trained."""
    from ..training.batches import Steps, check_trainable

    if spec.input_shape[0] != dataset.channels:
        wanted, size = f"{dataset.channels}, as {dataset.name} has", "HxW"
        if channels_last(spec.input_shape):
            size = f"{spec.input_shape[0]}x{spec.input_shape[1]}, channels first"
        raise mismatch("input channels", spec.input_shape[0], wanted, f"use --input {dataset.channels}x{size}")
    if spec.classes < dataset.classes:
        raise mismatch("--classes", spec.classes, f"at least {dataset.classes}, as {dataset.name} has")
    check_trainable(spec, Steps.of(plan, len(dataset.train_labels)))


def weights_of(spec: Spec, path: str | Path | None) -> Path | None:
    """Return the path of weights that a script loads. Raises ``VGGError`` when the file is here and does not fit.

    A file that is not here may be where the script runs.
    """
    from ..core.params import check_finite, load_params, load_spec, shapes

    if path is None:
        return None
    file = path_of("--weights", path)
    if file.exists():
        if shapes(load_spec(file)) != shapes(spec):
            raise mismatch(str(file), f"weights of another network than {spec.name}", "its own", "see vgg show")
        check_finite(load_params(file), str(file))
    return file


def new_path(name: str) -> Path:
    """Return the default path of a result: ``runs/NAME-DATE-TIME``, whatever characters ``name`` has.

    The time has microseconds, so that runs which begin in the same second do not meet.
    """
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    moment = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(seconds))}-{nanoseconds // 1000:06}"
    return Path(f"runs/{for_path(name)}-{moment}")


def _shape(shape: Any) -> Sequence[int] | None:
    if not isinstance(shape, str):
        return shape  # type: ignore[no-any-return]  # Spec checks it
    parts = shape.lower().split("x")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= limits.DIGITS for part in parts):
        raise mismatch("--input", one_line(shape, 100), "channels x height x width, as in 3x224x224")
    return [int(part) for part in parts]
