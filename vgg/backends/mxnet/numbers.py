"""Numbers of an MXNet model: activations, loss and gradients, as NumPy arrays under canonical names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from .. import Array, Arrays, check_batch, check_floats
from ..bookkeeping import SLOTS

_cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()


def forward(model: nn.HybridSequential, x: Array, *, train: bool = False) -> Array:
    """Return the logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, model.spec)
    with _pure(model, train), _mode(train):
        return model(tensor(model, x)).asnumpy()


def trace(model: nn.HybridSequential, x: Array, *, train: bool = False) -> Arrays:
    """Return the output of every layer by layer name, as NCHW; the logits are the last."""
    check_floats(x, model.spec)
    activations: Arrays = {}
    with _pure(model, train), _mode(train):
        out = tensor(model, x)
        for name, layer in layers(model):
            out = layer(out)
            activations[name] = out.asnumpy()
    return activations


def loss_and_grads(model: nn.HybridSequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and the gradient of every parameter.

    Raises ``VGGError`` when images or labels do not fit the network.
    """
    check_floats(x, model.spec)
    check_batch(x, y, model.spec)
    with _pure(model, train):
        with autograd.record(train_mode=train):
            out = tensor(model, x)
            for _, layer in layers(model):
                # oneDNN's max-pool keeps what its gradient needs in train mode only; else the gradient is garbage.
                with _mode(train or isinstance(layer, nn.MaxPool2D)):
                    out = layer(out)
            loss = losses(out, tensor(model, y)).mean()
        loss.backward(train_mode=train)
        return loss.asscalar().item(), {name: p.grad().asnumpy() for name, p in trained(model).items()}


def facts() -> dict[str, Any]:
    """Return versions, devices, and options that change numbers."""
    return {
        "framework": f"mxnet {mx.__version__}",
        "versions": {"mxnet": mx.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(f"gpu({i})" for i in range(mx.context.num_gpus()))],
        "gpus": gpus(),
        "no_gpu": f"MXNet sees {mx.context.num_gpus()}, and can use those of compute capability 8.6 at most",
        "flags": {
            "onednn": mx.runtime.Features().is_enabled("MKLDNN"),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "half of the processors"),
        },
    }


def gpus() -> int:
    """Return the number of GPUs that this build has code for; its newest code is for compute capability 8.6."""
    try:
        return sum(mx.nd.ones(1, ctx=mx.gpu(i)).asscalar() == 1 for i in range(mx.context.num_gpus()))
    except mx.MXNetError:
        return 0


def place(model: nn.HybridSequential) -> gluon.Parameter:
    """Return a parameter, which has the model's devices and dtype."""
    return next(parameter for _, layer in layers(model) for _, parameter in _slots(layer))


def tensor(model: nn.HybridSequential, x: Array, where: mx.Context | None = None, keep: bool = False) -> mx.nd.NDArray:
    """Return ``x`` on the device ``where``, by default the model's first.

    It gets the model's dtype unless ``keep``. Labels become floats only on the device.
    """
    p = place(model)
    found = mx.nd.array(x, ctx=where or p.list_ctx()[0], dtype=x.dtype)
    return found if keep else found.astype(p.dtype)


def losses(logits: mx.nd.NDArray, y: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return the cross-entropy of every example.

    It is computed in float64, because oneDNN's float32 ``log_softmax`` is off by 1e-6 and more, even with one class.
    """
    return _cross_entropy(logits.astype("float64"), y).astype(logits.dtype)


def layers(model: nn.HybridSequential) -> Iterator[tuple[str, nn.HybridBlock]]:
    """Yield (name in the layer table, layer) in the order of computation.

    The names are those of attributes, whatever Gluon's prefixes are.
    """
    for name, child in _children(model):
        if name.startswith("block"):
            yield from ((f"{name}.{part}", layer) for part, layer in _children(child))
        else:
            yield name.replace("_", ".") if name.startswith("fc") else name, child


def parameters(model: nn.HybridSequential) -> dict[str, gluon.Parameter]:
    """Return ``{canonical name: parameter}``, with the running statistics."""
    return {
        f"{name}.{SLOTS.get(slot, slot)}": parameter
        for name, layer in layers(model)
        for slot, parameter in _slots(layer)
    }


def trained(model: nn.HybridSequential) -> dict[str, gluon.Parameter]:
    """Return ``{canonical name: parameter}`` for the parameters that have a gradient."""
    return {name: p for name, p in parameters(model).items() if p.grad_req != "null"}


def seeded(model: nn.HybridSequential, seed: int) -> None:
    """Seed the generator that dropout masks are drawn from, if the model has dropout.

    All of the process share this generator, and MXNet cannot say what state it is in, so nobody can put it back. That
    is why train mode alone seeds it.
    """
    if model.spec.head.dropout:
        mx.random.seed(seed)


def _children(block: nn.HybridSequential) -> Iterator[tuple[str, nn.HybridBlock]]:
    """Yield (attribute, layer) in order."""
    return iter(block._children.items())  # noqa: SLF001 - Gluon tells nowhere else what it calls, in which order


def _slots(layer: nn.HybridBlock) -> Iterator[tuple[str, gluon.Parameter]]:
    """Yield (attribute, parameter) in order."""
    return ((slot, parameter) for slot, parameter in vars(layer).items() if isinstance(parameter, gluon.Parameter))


def _mode(train: bool) -> AbstractContextManager[None]:
    return autograd.train_mode() if train else autograd.predict_mode()


@contextmanager
def _pure(model: nn.HybridSequential, train: bool) -> Iterator[None]:
    """Put running statistics back afterwards, and in train mode seed the dropout masks afresh.

    Train mode moves MXNet's generator for the whole process, see ``seeded``. Eval mode seeds nothing and draws nothing.
    """
    kept = [(p, p.list_data()[0].copy()) for p in parameters(model).values() if p.grad_req == "null"]
    if train:
        seeded(model, 0)
    try:
        yield
    finally:
        for parameter, old in kept:
            parameter.set_data(old)
