"""One framework-neutral VGG specification, four native models, and the proof that they are one network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import bench, catalogue, check, code, compare, show, train
    from .core.architectures import arch, arch_names
    from .core.blocks import Block, Conv, Head, Pool
    from .core.errors import BackendError, VGGError
    from .core.init import init
    from .core.layers import Layer, Totals, expand, totals
    from .core.params import load_params, load_spec, save_params, shapes
    from .core.recipe import Recipe
    from .core.spec import Spec

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Block",
    "Conv",
    "Head",
    "Layer",
    "Pool",
    "Recipe",
    "Spec",
    "Totals",
    "VGGError",
    "arch",
    "arch_names",
    "bench",
    "catalogue",
    "check",
    "code",
    "compare",
    "expand",
    "init",
    "load_params",
    "load_spec",
    "save_params",
    "shapes",
    "show",
    "totals",
    "train",
]

_HOMES = {
    "api": ("bench", "catalogue", "check", "code", "compare", "show", "train"),
    "core.architectures": ("arch", "arch_names"),
    "core.blocks": ("Block", "Conv", "Head", "Pool"),
    "core.errors": ("BackendError", "VGGError"),
    "core.init": ("init",),
    "core.layers": ("Layer", "Totals", "expand", "totals"),
    "core.params": ("load_params", "load_spec", "save_params", "shapes"),
    "core.recipe": ("Recipe",),
    "core.spec": ("Spec",),
}
"""The modules of the names, imported at first use: a command is then ready for Ctrl-C within milliseconds, and
``vgg show`` does without NumPy, in half the time.
"""


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _HOMES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
