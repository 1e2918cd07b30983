"""One framework-neutral VGG specification, four native models, and the proof that they are one network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.architectures import arch, arch_names
from .core.blocks import Block, Conv, Head, Pool
from .core.errors import BackendError, VGGError
from .core.layers import Layer, Totals, expand, totals
from .core.recipe import Recipe
from .core.spec import Spec

if TYPE_CHECKING:
    from .api import bench, catalogue, check, code, compare, show, train
    from .core.init import init
    from .core.params import load_params, load_spec, save_params, shapes

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

_LATER = {
    **dict.fromkeys(("bench", "catalogue", "check", "code", "compare", "show", "train"), "api"),
    **dict.fromkeys(("load_params", "load_spec", "save_params", "shapes"), "core.params"),
    "init": "core.init",
}
"""Where those names are that come at first use: ``vgg show`` does without NumPy, in half the time."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
