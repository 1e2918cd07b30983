"""VGG in JAX; see ``learner``."""

from __future__ import annotations

from .learner import (
    DECLARED,
    PRECISIONS,
    REPLICAS,
    build,
    dump,
    facts,
    forward,
    learner,
    load,
    loss_and_grads,
    trace,
    vgg_block,
)

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
    "trace",
    "vgg_block",
]
