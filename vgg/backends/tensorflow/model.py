"""VGG in TensorFlow: ``keras.Sequential`` of stock layers, and one of our own for local response normalisation.

NHWC, HWIO, dense (in, out): ``load`` and ``dump`` turn axes, and fc1's inputs, which Keras flattens in H,W,C order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import tensorflow as tf
from keras import layers

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.layouts import from_hwc, to_hwc
from ...core.params import check_params
from ...core.replicas import group
from ...core.spec import Spec
from .. import Array, Arrays, check_build
from ..bookkeeping import near_channels
from .numbers import VGG, spec_of, variables

_DRAWN = {"kernel_initializer": "zeros"}  # none: ``load`` brings the values
_LAST = {"data_format": "channels_last"}  # whatever the user's keras.json says


@keras.saving.register_keras_serializable(package="vgg")
class LRN(layers.Layer):
    """Local response normalisation. ``tf.nn`` has none in float64; a window over channels is a band matrix."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        near = tf.constant(near_channels(x.shape[-1], LRN_SIZE), x.dtype)
        return x * (LRN_K + LRN_ALPHA * (x * x @ near)) ** -LRN_BETA  # alpha is not divided by the size, as torch's is

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


def vgg_block(
    block: Block,
    channels: int,  # noqa: ARG001 - Keras infers it
    batch_norm: bool = False,
    dtype: str = "float32",
    name: str = "block",
) -> keras.Sequential:
    """One block on ``channels`` input channels: convolutions with ReLU, then a max-pool; (N, H, W, C) throughout."""
    stack: list[layers.Layer] = []
    for i, conv in enumerate(block.convs, 1):
        # Keras knows "same" and "valid": other padding is a layer. With a stride, "same" pads one side more.
        same = conv.stride == 1 and conv.kernel == 2 * conv.padding + 1
        if conv.padding and not same:
            stack.append(layers.ZeroPadding2D(conv.padding, name=f"pad{i}", dtype=dtype, **_LAST))
        window = conv.kernel, conv.stride, "same" if same else "valid"
        stack.append(layers.Conv2D(conv.channels, *window, name=f"conv{i}", dtype=dtype, **_LAST, **_DRAWN))
        if batch_norm:
            # Keras' momentum is the share of the old statistic that is kept, and its default epsilon is 1e-3.
            numbers = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "dtype": dtype}
            stack.append(layers.BatchNormalization(name=f"bn{i}", synchronized=group().size > 1, **numbers))
        stack.append(layers.ReLU(name=f"relu{i}", dtype=dtype))
        if conv.lrn:
            stack.append(LRN(name=f"lrn{i}", dtype=dtype))
    if block.pool:
        stack.append(layers.MaxPooling2D(block.pool.kernel, block.pool.stride, name="pool", dtype=dtype, **_LAST))
    return keras.Sequential(stack, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> VGG:
    """``spec`` as ``keras.Sequential`` that holds ``vgg.init(spec)``; its layers carry the layer table's names.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu; ``VGGError`` for others.
    """
    check_build(dtype, device)
    with tf.device(f"/{device.upper()}:0"):
        channels, *sides = spec.input_shape
        stack: list[layers.Layer] = [layers.Input((*sides, channels), name="images", dtype=dtype)]
        for i, block in enumerate(spec.blocks, 1):
            stack.append(vgg_block(block, channels, spec.batch_norm, dtype, f"block{i}"))
            channels = block.convs[-1].channels
        if spec.head.global_pool:
            stack.append(layers.GlobalAveragePooling2D(name="global_avg_pool", dtype=dtype, **_LAST))
        else:
            stack.append(layers.Flatten(name="flatten", dtype=dtype, **_LAST))  # in H,W,C order
        for i, hidden in enumerate(spec.head.hidden, 1):
            dense = layers.Dense(hidden, name=f"fc{i}", dtype=dtype, **_DRAWN)
            stack += [dense, layers.ReLU(name=f"fc{i}.relu", dtype=dtype)]
            if spec.head.dropout:
                stack.append(layers.Dropout(spec.head.dropout, seed=i, name=f"fc{i}.dropout", dtype=dtype))
        stack.append(layers.Dense(spec.classes, name=f"fc{len(spec.head.hidden) + 1}", dtype=dtype, **_DRAWN))
        model = VGG(stack, name=re.sub(r"[^A-Za-z0-9.-]+", "_", spec.name).lstrip("_-") or "vgg")  # Keras takes no "/"
    model.spec = spec
    return load(model, init(spec, dtype=dtype))


def load(model: keras.Sequential, params: Mapping[str, Array]) -> keras.Sequential:
    """``model`` itself, with copies of these canonical parameters in it, rounded to its dtype.

    ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    spec = spec_of(model)
    check_params(params, spec)
    for name, variable in variables(model).items():
        variable.assign(to_hwc(spec, name, params[name]))
    return model


def dump(model: keras.Sequential) -> Arrays:
    """``{canonical name: array}``, copies."""
    return {name: from_hwc(spec_of(model), name, v.numpy()) for name, v in variables(model).items()}
