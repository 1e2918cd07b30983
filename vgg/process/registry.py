"""Backends by name: the four of this package, and those of other packages' entry points ``vgg.backends``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import mismatch, unknown
from ..core.texts import for_path, shown
from .tuning import FAST, FIXED

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP = "vgg.backends"
ALIASES = {"pytorch": "torch", "flax": "jax", "gluon": "mxnet", "keras": "tensorflow", "tf": "tensorflow"}
_ENVS = Path(__file__).parent / "envs"


@dataclass(frozen=True)
class Entry:
    """A backend that can be named.

    ``module`` is the module to import, ``imports`` the packages that it needs, and ``lock`` the lock file of its
    environment, or None for the current one. ``launcher`` holds the arguments by which ``python`` starts ``{count}``
    replicas, if each is a process of its own; the launcher's files go to ``{home}``. ``ranks`` are the environment
    variables that tell such a process its rank and the number of processes, ``meeting`` those that several processes
    need too, with a pattern of their values and the same in words. ``variables`` make the framework faster in the
    environment of the lock file, unless the user sets them; ``fixed`` are those without which the module does not work,
    whatever the user sets. ``auto`` says whether the device auto tries a GPU build, ``elsewhere`` whether the package
    index has the GPU build only.
    """

    name: str
    module: str
    imports: tuple[str, ...] = ()
    lock: Path | None = None
    launcher: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()
    meeting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    auto: bool = True
    elsewhere: bool = False

    def importable(self) -> bool:
        """Return whether the current interpreter has all packages that the module needs.

        A folder with the name of a package is not that package.
        """
        return all((spec := find_spec(name)) and spec.origin for name in self.imports)

    def on(self, device: str) -> Entry:
        """Return this entry for ``device``: with the lock file of the GPU build if a GPU is to be used.

        For that there must be such a lock file, and a driver on this machine.
        """
        use_gpu = (device == "gpu" or (device == "auto" and self.auto)) and shutil.which("nvidia-smi")
        lock = self.lock.with_stem(f"{self.lock.stem}-gpu") if self.lock and use_gpu else None
        return replace(self, lock=lock) if lock and lock.is_file() else self

    def locks(self) -> list[Path]:
        """Return the lock files that serve this entry, the best first.

        The GPU build comes last, for users whose package sources lack the CPU build.
        """
        return self._existing("", "-gpu") if self.elsewhere else self._existing("")

    def variants(self) -> list[Entry]:
        """Return this entry with each lock file that it can have: those of the GPU builds and of the zoos too."""
        return [replace(self, lock=lock) for lock in self._existing("", "-gpu", "-zoo", "-zoo-gpu")]

    def _existing(self, *endings: str) -> list[Path]:
        """Return its lock file, and those with other endings that exist."""
        locks = [self.lock.with_stem(f"{self.lock.stem}{ending}") for ending in endings] if self.lock else []
        return [lock for lock in locks if lock == self.lock or lock.is_file()]

    def files(self) -> list[Path]:
        """Return the files that the environment must contain besides this package: a plug-in's module or package."""
        if self.lock is None or self.module.startswith("vgg."):
            return []
        module = find_spec(self.module.partition(".")[0])
        if not module or not module.origin:
            return []
        origin = Path(module.origin)
        return [origin.parent if origin.name == "__init__.py" else origin]


_HOST, _NUMBER = (r"\S+", "a host"), (r"[1-9]\d*", "a number")
_COORDINATOR = {"JAX_COORDINATOR_ADDRESS": (r"\S+:\d+", "HOST:PORT")}
_SCHEDULER = {
    "DMLC_ROLE": ("worker", "worker"),
    "DMLC_NUM_SERVER": _NUMBER,
    "DMLC_PS_ROOT_URI": _HOST,
    "DMLC_PS_ROOT_PORT": _NUMBER,
}
_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node={count}", "--log-dir={home}")


_OWN = {
    name: Entry(
        name,
        f"vgg.backends.{name}",
        imports,
        _ENVS / f"{name}.txt",
        launcher,
        ranks,
        meeting,
        FAST.get(name, {}),
        FIXED.get(name, {}),
        auto=name != "mxnet",  # it brings no CUDA libraries, and without them it cannot be imported
        elsewhere=name == "torch",
    )
    for name, imports, launcher, ranks, meeting in (
        ("torch", ("torch",), _TORCHRUN, ("RANK", "WORLD_SIZE"), {"MASTER_ADDR": _HOST, "MASTER_PORT": _NUMBER}),
        ("tensorflow", ("tensorflow",), (), ("TF_CONFIG",), {}),
        ("jax", ("jax", "flax", "optax"), (), ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"), _COORDINATOR),
        ("mxnet", ("mxnet",), (), ("DMLC_WORKER_ID", "DMLC_NUM_WORKER"), _SCHEDULER),
    )
}


def _announced() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import, and few commands need it

    return entry_points(group=GROUP)


def own_names() -> tuple[str, ...]:
    """Return the names of the four backends of this package, in the order of every table."""
    return tuple(_OWN)


def names() -> tuple[str, ...]:
    """Return the name of every backend, those of other packages last."""
    return (*_OWN, *sorted({point.name for point in _announced()} - _OWN.keys()))


def find(name: str) -> Entry:
    """Return the backend of this name. Raises ``VGGError``, which suggests the nearest name, when there is none."""
    if not isinstance(name, str):
        raise unknown("backend", name, names())
    if name in _OWN:
        return _OWN[name]
    for point in _announced().select(name=name):
        if not point.pattern.fullmatch(point.value):
            raise mismatch(f"entry point {name!r} of vgg.backends", repr(point.value), "the name of a module")
        if for_path(name) != name:  # it names a directory of every comparison
            raise mismatch("entry point of vgg.backends", shown(name), "a name of letters, digits, -, _ and .")
        return Entry(point.name, point.module, lock=beside(point.module, ".txt"))
    raise unknown("backend", name, names(), ALIASES)


def beside(module: str, suffix: str) -> Path | None:
    """Return a plug-in's file of that suffix: ``module.txt`` beside ``module.py``, or in the package ``module``.

    It is None when there is no such file. Without a lock file the plug-in runs in the current interpreter.
    """
    name = module.partition(".")[0]
    spec = find_spec(name)
    path = Path(spec.origin).with_name(f"{name}{suffix}") if spec and spec.origin else None
    return path if path and path.is_file() else None
