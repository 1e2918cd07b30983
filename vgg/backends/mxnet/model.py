"""VGG in MXNet: ``gluon.nn.HybridSequential`` of stock layers.

Images are NCHW, convolutions OIHW, dense layers (out, in). These are the canonical layouts, so ``load`` and ``dump``
change no axis. Layers are attributes of the block that they are in, under canonical names, whatever prefix
Gluon has given the model: ``model.block1.conv1.weight``. Batch norm calls its weight ``gamma`` and its bias ``beta``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.params import check_params
from ...core.spec import Spec
from .. import Array, Arrays, check_build
from .numbers import gpus, parameters


class LRN(nn.HybridBlock):
    """Normalises over near channels with basic operators, because MXNet's own layer fails in float64.

    Alpha is not divided by the size of the window, as MXNet's own layer would.
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - its name in Gluon
        """Divide by a power of the sum of squares over near channels, which is a sum-pool over (N, 1, C, H*W)."""
        flat = F.expand_dims(F.reshape(x * x, (0, 0, -1)), 1)
        near = F.Pooling(flat, kernel=(LRN_SIZE, 1), pad=(LRN_SIZE // 2, 0), pool_type="sum")
        return x * (LRN_K + LRN_ALPHA * F.reshape_like(near, x)) ** -LRN_BETA


def vgg_block(
    block: Block, channels: int, batch_norm: bool = False, dtype: str = "float32", name: str = "block"
) -> nn.HybridSequential:
    """Return one block for (N, ``channels``, H, W): convolutions, each with ReLU, then a max-pool."""
    layers = nn.HybridSequential(prefix=f"{name}_")
    with layers.name_scope():  # which puts ``block1_`` before the names of parameters
        for i, conv in enumerate(block.convs, 1):
            window = (conv.kernel, conv.stride, conv.padding)
            setattr(layers, f"conv{i}", nn.Conv2D(conv.channels, *window, in_channels=channels, prefix=f"conv{i}_"))
            if batch_norm:
                # MXNet's momentum is the share of the old statistic that is kept; the backward pass moves statistics.
                # cuDNN takes no epsilon below 1e-5.
                numbers = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON}
                setattr(layers, f"bn{i}", nn.BatchNorm(in_channels=conv.channels, prefix=f"bn{i}_", **numbers))
            setattr(layers, f"relu{i}", nn.Activation("relu", prefix=f"relu{i}_"))
            if conv.lrn:
                setattr(layers, f"lrn{i}", LRN(prefix=f"lrn{i}_"))
            channels = conv.channels
        if block.pool:
            layers.pool = nn.MaxPool2D(block.pool.kernel, block.pool.stride, prefix="pool_")
    layers.cast(dtype)  # before there are values, because Conv2D takes no dtype
    return layers


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> nn.HybridSequential:
    """Return ``spec`` as a ``gluon.nn.HybridSequential`` with the parameters ``vgg.init(spec)``.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu. Raises ``VGGError`` for others.
    """
    check_build(dtype, device, gpus)
    model = nn.HybridSequential()  # Gluon numbers it: no two models have parameters of one name
    with model.name_scope():
        channels = spec.input_shape[0]
        for i, block in enumerate(spec.blocks, 1):
            setattr(model, f"block{i}", vgg_block(block, channels, spec.batch_norm, dtype, f"block{i}"))
            channels = block.convs[-1].channels
        if spec.head.global_pool:
            model.global_avg_pool = nn.HybridSequential(prefix="global_avg_pool_")
            model.global_avg_pool.add(nn.GlobalAvgPool2D(), nn.Flatten())
        else:
            model.flatten = nn.Flatten(prefix="flatten_")  # in C,H,W order
        width = channels if spec.head.global_pool else int(np.prod(spec.feature_shape))
        for i, hidden in enumerate(spec.head.hidden, 1):
            setattr(model, f"fc{i}", nn.Dense(hidden, dtype=dtype, in_units=width, prefix=f"fc{i}_"))
            setattr(model, f"fc{i}_relu", nn.Activation("relu", prefix=f"fc{i}_relu_"))
            if spec.head.dropout:
                setattr(model, f"fc{i}_dropout", nn.Dropout(spec.head.dropout, prefix=f"fc{i}_dropout_"))
            width = hidden
        last = f"fc{len(spec.head.hidden) + 1}"
        setattr(model, last, nn.Dense(spec.classes, dtype=dtype, in_units=width, prefix=f"{last}_"))
    where = mx.gpu() if device == "gpu" else mx.cpu()
    model.initialize(mx.init.Zero(), where)  # any other initialiser would draw from MXNet's generator
    model.spec = spec
    return load(model, init(spec, dtype=dtype))


def load(model: nn.HybridSequential, params: Mapping[str, Array]) -> nn.HybridSequential:
    """Copy these canonical parameters into ``model``, rounded to its dtype, and return ``model``.

    Raises ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    check_params(params, model.spec)
    for name, parameter in parameters(model).items():
        parameter.set_data(mx.nd.array(params[name], dtype=parameter.dtype))
    return model


def dump(model: nn.HybridSequential) -> Arrays:
    """Return copies of the parameters, ``{canonical name: array}``."""
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in parameters(model).items()}
