"""One framework-neutral VGG specification, four native models, and the proof that they are one network."""

from .errors import BackendError, VGGError
from .layers import Layer, Totals, expand, totals
from .params import init, load_params, load_spec, save_params, shapes
from .recipe import Recipe
from .spec import Block, Conv, Head, Pool, Spec, arch, arch_names

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
