"""VGG in TensorFlow, as a ``keras.Sequential`` of stock layers and one of our own for local response normalisation.

Images are NHWC, weights of convolutions HWIO, those of dense layers (in, out). ``load`` and ``dump`` move axes, and
permute the inputs of ``fc1``, which Keras flattens in the order H,W,C.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.layouts import from_hwc, to_hwc
from ...core.params import check_params
from ...core.spec import Spec
from .. import Array, Arrays, check_build
from .numbers import VGG, gpus, spec_of, variables

_EMPTY = {"kernel_initializer": "zeros"}  # ``load`` brings the values
_LAST = {"data_format": "channels_last"}  # whatever the user's keras.json says


@keras.saving.register_keras_serializable(package="vgg")
class LRN(layers.Layer):
    """Normalises over near channels. ``tf.nn`` has no such layer in float64; a sum is a product with a band matrix."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        near = np.abs(np.subtract.outer(range(x.shape[-1]), range(x.shape[-1]))) <= LRN_SIZE // 2
        wide = tf.cast(x, self.variable_dtype)  # 256 squared is too large for float16
        squares = tf.tensordot(wide * wide, tf.constant(near, wide.dtype), 1)
        # torch divides alpha by the size of the window; Krizhevsky does not.
        return tf.cast(wide * (LRN_K + LRN_ALPHA * squares) ** -LRN_BETA, x.dtype)


def vgg_block(
    block: Block, channels: int, batch_norm: bool = False, dtype: str = "float32", name: str = "block"
) -> keras.Sequential:
    """Return one block for (N, H, W, ``channels``): convolutions, each with ReLU, then a max-pool."""
    stack: list[layers.Layer] = [layers.Input((None, None, channels), dtype=dtype)]
    for i, conv in enumerate(block.convs, 1):
        # Keras knows "same" and "valid": other padding is a layer. With a stride, "same" pads one side more.
        same = conv.stride == 1 and conv.kernel == 2 * conv.padding + 1
        if conv.padding and not same:
            stack.append(layers.ZeroPadding2D(conv.padding, name=f"pad{i}", dtype=dtype, **_LAST))
        window = {"kernel_size": conv.kernel, "strides": conv.stride, "padding": "same" if same else "valid"}
        stack.append(layers.Conv2D(conv.channels, **window, name=f"conv{i}", dtype=dtype, **_LAST, **_EMPTY))
        if batch_norm:
            # Keras' momentum is the share of the old statistic that is kept, and its default epsilon is 1e-3.
            numbers = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "dtype": dtype}
            stack.append(layers.BatchNormalization(name=f"bn{i}", **numbers))
        stack.append(layers.ReLU(name=f"relu{i}", dtype=dtype))
        if conv.lrn:
            stack.append(LRN(name=f"lrn{i}", dtype=dtype))
    if block.pool:
        stack.append(layers.MaxPooling2D(block.pool.kernel, block.pool.stride, name="pool", dtype=dtype, **_LAST))
    return keras.Sequential(stack, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> VGG:
    """Return ``spec`` as a ``keras.Sequential`` with the parameters ``vgg.init(spec)`` and the layer table's names.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu. Raises ``VGGError`` for others. A clone of the model starts
    from zeros.
    """
    check_build(dtype, device, gpus)
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
            dense = layers.Dense(hidden, name=f"fc{i}", dtype=dtype, **_EMPTY)
            stack += [dense, layers.ReLU(name=f"fc{i}.relu", dtype=dtype)]
            if spec.head.dropout:
                # Without a seed Keras would draw one from Python's generator.
                stack.append(layers.Dropout(spec.head.dropout, seed=i, name=f"fc{i}.dropout", dtype=dtype))
        stack.append(layers.Dense(spec.classes, name=f"fc{len(spec.head.hidden) + 1}", dtype=dtype, **_EMPTY))
        model = VGG(stack, name=re.sub(r"[^A-Za-z0-9.-]+", "_", spec.name).lstrip("_-") or "vgg")  # Keras takes no "/"
    model.spec = spec
    return load(model, init(spec, dtype=dtype))


def load(model: keras.Sequential, params: Mapping[str, Array]) -> keras.Sequential:
    """Copy these canonical parameters into ``model``, rounded to its dtype, and return ``model``.

    Raises ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    spec = spec_of(model)
    check_params(params, spec)
    for name, variable in variables(model).items():
        variable.assign(to_hwc(spec, name, params[name]))
    return model


def dump(model: keras.Sequential) -> Arrays:
    """Return copies of the parameters, ``{canonical name: array}``."""
    return {name: from_hwc(spec_of(model), name, v.numpy()) for name, v in variables(model).items()}
