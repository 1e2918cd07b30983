"""VGG in MXNet/Gluon. Read ``model`` first, then ``numbers``, then ``learner``."""

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

DECLARED = {"running_var": "population", "momentum": "float32", "dropout": "float32", "nan": "swallowed"}
# contrib.amp rewrites every operator of the process, for good; on a CPU it has no fp16, and bf16 on few.
PRECISIONS = {"cpu": ("float64", "float32"), "gpu": ("float64", "float32")}
REPLICAS = {"batch_norm": False}  # SyncBatchNorm is not of Gluon's stock layers but of gluon.contrib
