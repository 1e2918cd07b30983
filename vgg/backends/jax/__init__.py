"""VGG in JAX/Flax. Read ``model`` first, then ``numbers``, then ``learner``."""

from __future__ import annotations

from .learner import learner, setup
from .model import build, dump, load, vgg_block
from .numbers import facts, forward, loss_and_grads, trace
from .script import scripted

__all__ = [
    "DECLARED",
    "PRECISIONS",
    "REPLICAS",
    "build",
    "dump",
    "facts",
    "forward",
    "learner",
    "load",
    "loss_and_grads",
    "scripted",
    "setup",
    "trace",
    "vgg_block",
]

DECLARED = {"running_var": "population", "denormals": "flushed"}
PRECISIONS = {
    "cpu": ("float64", "float32", "bf16", "fp16"),
    "gpu": ("float64", "float32", "tf32", "bf16", "fp16"),
}
REPLICAS = {"batch_norm": True}
