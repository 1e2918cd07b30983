"""Scripts that ``vgg code`` prints for PyTorch, executed for the suite."""

from __future__ import annotations

import torch
from torch import nn

from ...core.spec import Spec
from .. import Array, Step
from ..bookkeeping import executed


def scripted(source: str, spec: Spec, *, dtype: str = "float32") -> tuple[nn.Sequential, Step | None]:
    """Execute a script; return its model, and its training step if it has one; see ``vgg.backends``."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.random.fork_rng(devices=[]):
            names = executed(source)
    finally:
        torch.set_default_dtype(before)
    model = names["model"]
    model.spec = spec

    def step(x: Array, y: Array) -> float:
        return names["train_step"](torch.from_numpy(x), torch.from_numpy(y)).item()

    return model, step if "train_step" in names else None
