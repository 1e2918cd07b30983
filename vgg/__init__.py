"""One framework-neutral VGG specification, four native models, and the proof that they are one network."""

from typing import TYPE_CHECKING, Any

from .errors import BackendError, VGGError
from .layers import Layer, Totals, expand, totals
from .recipe import Recipe
from .spec import Block, Conv, Head, Pool, Spec, arch, arch_names

if TYPE_CHECKING:
    from .params import init, load_params, load_spec, save_params, shapes

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
    "expand",
    "init",
    "load_params",
    "load_spec",
    "save_params",
    "shapes",
    "totals",
]


def __getattr__(name: str) -> Any:
    """What needs NumPy comes at first use: ``vgg show`` does without, in half the time."""
    if name not in ("init", "load_params", "load_spec", "save_params", "shapes"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import params

    return getattr(params, name)
