"""The oracle as a backend that infers in float32 and claims no more: what an inference runtime can bring."""

from __future__ import annotations

import os

from vgg_oracle import DECLARED, build, dump, facts, forward, load, trace, vgg_block

__all__ = ["DECLARED", "build", "dump", "facts", "forward", "load", "trace", "vgg_block"]
LEVEL = os.environ.get("VGG_LEVEL", "inference")
DTYPES = tuple(os.environ.get("VGG_DTYPES", "float32").split())
