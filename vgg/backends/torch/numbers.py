"""Numbers of a PyTorch model: activations, loss and gradients, as NumPy arrays with canonical names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from .. import Array, Arrays, check_batch, check_floats


def forward(model: nn.Sequential, x: Array, *, train: bool = False) -> Array:
    """Return the logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, model.spec)
    with torch.no_grad(), _pure(model, train):
        return numpy(model(tensor(model, x)))


def trace(model: nn.Sequential, x: Array, *, train: bool = False) -> Arrays:
    """Return the output of every layer for images (N, C, H, W), by layer name; the logits are the last."""
    check_floats(x, model.spec)
    activations: Arrays = {}
    with torch.no_grad(), _pure(model, train):
        out = tensor(model, x)
        for name, layer in layers(model):
            out = layer(out)
            activations[name] = numpy(out)
    return activations


def loss_and_grads(model: nn.Sequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and the gradient of every parameter.

    Raises ``VGGError`` when images or labels do not fit the network.
    """
    check_floats(x, model.spec)
    check_batch(x, y, model.spec)
    with _pure(model, train):
        loss = F.cross_entropy(model(tensor(model, x)), labels(model, y))
        names, parameters = zip(*model.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, parameters)
    return float(loss), {name: numpy(grad) for name, grad in zip(names, grads, strict=True)}


def facts() -> dict[str, Any]:
    """Return versions, devices, and options that change numbers."""
    return {
        "framework": f"torch {torch.__version__}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))],
        "gpus": torch.cuda.device_count(),
        "flags": {
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_conv": torch.backends.cudnn.allow_tf32,
        },
    }


def place(model: nn.Module) -> torch.Tensor:
    """Return a parameter of the model, which has the model's device and dtype."""
    return next(model.parameters())


def tensor(model: nn.Module, x: Array, keep: bool = False) -> torch.Tensor:
    """Return ``x`` on the model's device, converted to the model's dtype unless ``keep``."""
    p = place(model)
    return torch.from_numpy(np.ascontiguousarray(x)).to(p.device, None if keep else p.dtype)


def labels(model: nn.Module, y: Array) -> torch.Tensor:
    """Return the labels ``y`` (N,) on the model's device."""
    return torch.from_numpy(np.ascontiguousarray(y)).to(place(model).device)


def numpy(x: torch.Tensor) -> Array:
    """Return a copy of ``x`` as a NumPy array."""
    return np.array(x.detach().cpu().numpy(), order="C")


def layers(model: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name in the layer table, layer) in the order of computation."""
    for name, child in model.named_children():
        if name.startswith("block"):
            yield from ((f"{name}.{part}", layer) for part, layer in child.named_children())
        else:
            yield name.replace("_", ".") if name.startswith("fc") else name, child


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TensorFloat-32 on a GPU within the block, by torch's global options, which are then restored."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[None]:
    """Seed torch's generator, which draws dropout masks, within the block; then restore its earlier state."""
    device = place(model).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _pure(model: nn.Sequential, train: bool) -> Iterator[None]:
    """Set the mode and seed the dropout masks within the block; then restore the mode and the running statistics."""
    kept, before = [buffer.clone() for buffer in model.buffers()], model.training
    model.train(train)
    try:
        with tf32(allowed=False), seeded(model, 0):
            yield
    finally:
        model.train(before)
        for buffer, old in zip(model.buffers(), kept, strict=True):
            buffer.copy_(old)
