"""Backend names: the four of this package, and those that other packages announce as entry points ``vgg.backends``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import mismatch, unknown
from .tuning import FAST, FIXED

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP = "vgg.backends"
ALIASES = {"pytorch": "torch", "flax": "jax", "gluon": "mxnet", "keras": "tensorflow", "tf": "tensorflow"}
_ENVS = Path(__file__).parent / "envs"


@dataclass(frozen=True)
class Entry:
    """A backend by name: the module to import, what that needs, and the lock file of its environment (none: the current
    one).

    ``launcher``: what ``python`` runs to start ``{count}`` replicas where each is a process of its own; its files go to
    ``{home}``. ``ranks``: the variables by which such a process knows its rank and how many there are. ``variables``:
    what makes the framework faster in the environment of the lock file, unless the user has set them otherwise.
    ``fixed``: what the module cannot do without, whatever the user has set.
    ``auto``: whether a GPU build is tried where nobody has asked for a GPU.
    """

    name: str
    module: str
    imports: tuple[str, ...] = ()
    lock: Path | None = None
    launcher: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    auto: bool = True

    def importable(self) -> bool:
        """Whether the current interpreter has everything that the module needs; a mere folder of that name does not
        count.
        """
        return all((spec := find_spec(name)) and spec.origin for name in self.imports)

    def on(self, device: str) -> Entry:
        """With the lock file of its GPU build, where a GPU is wanted, this machine has a driver, and there is one."""
        wanted = (device == "gpu" or (device == "auto" and self.auto)) and shutil.which("nvidia-smi")
        lock = self.lock.with_stem(f"{self.lock.stem}-gpu") if self.lock and wanted else None
        return replace(self, lock=lock) if lock and lock.is_file() else self

    def files(self) -> list[Path]:
        """What an environment of its own must see besides this package: a plug-in's module file or package folder."""
        if self.lock is None or self.module.startswith("vgg."):
            return []
        found = find_spec(self.module.partition(".")[0])
        if not found or not found.origin:
            return []
        origin = Path(found.origin)
        return [origin.parent if origin.name == "__init__.py" else origin]


_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node={count}", "--log-dir={home}")


_OWN = {
    name: Entry(
        name,
        f"vgg.backends.{name}",
        imports,
        _ENVS / f"{name}.txt",
        launcher,
        ranks,
        FAST.get(name, {}),
        FIXED.get(name, {}),
        auto=name != "mxnet",  # it brings no CUDA libraries, and without them it cannot be imported
    )
    for name, imports, launcher, ranks in (
        ("torch", ("torch",), _TORCHRUN, ("RANK", "WORLD_SIZE")),
        ("tensorflow", ("tensorflow",), (), ("TF_CONFIG",)),
        ("jax", ("jax", "flax", "optax"), (), ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")),
        ("mxnet", ("mxnet",), (), ("DMLC_WORKER_ID", "DMLC_NUM_WORKER")),
    )
}


def _announced() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import, and few commands ask

    return entry_points(group=GROUP)


def own_names() -> tuple[str, ...]:
    """The four backends of this package, in the order of every table."""
    return tuple(_OWN)


def names() -> tuple[str, ...]:
    """Every backend that can be named, third-party ones last."""
    return (*_OWN, *sorted({point.name for point in _announced()} - _OWN.keys()))


def find(name: str) -> Entry:
    """The backend of that name; ``VGGError`` with the nearest one otherwise."""
    if name in _OWN:
        return _OWN[name]
    for point in _announced().select(name=name):
        if not point.pattern.fullmatch(point.value):
            raise mismatch(f"entry point {name!r} of vgg.backends", repr(point.value), "the name of a module")
        return Entry(point.name, point.module, lock=_lock_beside(point.module))
    raise unknown("backend", name, names(), ALIASES)


def _lock_beside(module: str) -> Path | None:
    """A plug-in's lock file: ``module.txt`` beside ``module.py``, or within the package ``module``.

    Without one it runs in the current interpreter.
    """
    name = module.partition(".")[0]
    found = find_spec(name)
    lock = Path(found.origin).with_name(f"{name}.txt") if found and found.origin else None
    return lock if lock and lock.is_file() else None
