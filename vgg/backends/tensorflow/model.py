"""VGG in TensorFlow: ``keras.Sequential`` of stock layers, and one of our own for local response normalisation.

Images are NHWC, convolutions HWIO, dense layers (in, out). ``load`` and ``dump`` turn the axes, and the inputs of fc1
besides: Keras flattens in H,W,C order, canonical parameters have C,H,W.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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

_LAST = {"data_format": "channels_last"}  # whatever the user's keras.json says


@keras.saving.register_keras_serializable(package="vgg")
class LRN(layers.Layer):
    """Local response normalisation: ``tf.nn`` has none in float64, and a window over channels is a band matrix."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """``alpha`` is Krizhevsky's and TensorFlow's: it is not divided by the size of the window, as torch's is."""
        near = tf.constant(near_channels(x.shape[-1], LRN_SIZE), x.dtype)
        return x * (LRN_K + LRN_ALPHA * (x * x @ near)) ** -LRN_BETA

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Name and dtype: all else is Krizhevsky's."""
        return super().get_config()


def vgg_block(
    block: Block,
    channels: int,  # noqa: ARG001 - Keras infers it
    batch_norm: bool = False,
    dtype: str = "float32",
    name: str = "block",
) -> keras.Sequential:
    """One block on ``channels`` input channels: convolutions with ReLU, then a max-pool; (N, H, W, C) throughout."""
    stack: list[layers.Layer] = []
    exact, drawn = {"dtype": dtype}, {"kernel_initializer": "zeros"}  # ``load`` brings the values: none are drawn
    for i, conv in enumerate(block.convs, 1):
        # Keras knows "same" and "valid": another padding is a layer. With strides, "same" would pad one side more.
        same = conv.stride == 1 and conv.kernel == 2 * conv.padding + 1
        if conv.padding and not same:
            stack.append(layers.ZeroPadding2D(conv.padding, name=f"pad{i}", **_LAST, **exact))
        pad, at = "same" if same else "valid", {"name": f"conv{i}", **_LAST, **exact}
        stack.append(layers.Conv2D(conv.channels, conv.kernel, conv.stride, pad, **drawn, **at))
        if batch_norm:
            # Keras' momentum is the share of the old statistic that is kept, and its default epsilon is 1e-3.
            kept, together = (BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON), {"synchronized": group().size > 1}
            stack.append(layers.BatchNormalization(-1, *kept, name=f"bn{i}", **together, **exact))
        stack.append(layers.ReLU(name=f"relu{i}", **exact))
        if conv.lrn:
            stack.append(LRN(name=f"lrn{i}", **exact))
    if block.pool:
        stack.append(layers.MaxPooling2D(block.pool.kernel, block.pool.stride, name="pool", **_LAST, **exact))
    return keras.Sequential(stack, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> VGG:
    """``spec`` as ``keras.Sequential`` that holds ``vgg.init(spec)``; its layers carry the layer table's names.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu; ``VGGError`` for others.
    """
    check_build(dtype, device)
    exact, drawn = {"dtype": dtype}, {"kernel_initializer": "zeros"}
    with tf.device("/GPU:0" if device == "gpu" else "/CPU:0"):
        channels, height, width = spec.input_shape
        stack: list[Any] = [layers.Input((height, width, channels), name="images", **exact)]
        for i, block in enumerate(spec.blocks, 1):
            stack.append(vgg_block(block, channels, spec.batch_norm, dtype, f"block{i}"))
            channels = block.convs[-1].channels
        flat = layers.GlobalAveragePooling2D if spec.head.global_pool else layers.Flatten  # in H,W,C order
        stack.append(flat(name="global_avg_pool" if spec.head.global_pool else "flatten", **_LAST, **exact))
        for i, hidden in enumerate(spec.head.hidden, 1):
            stack.append(layers.Dense(hidden, name=f"fc{i}", **drawn, **exact))
            stack.append(layers.ReLU(name=f"fc{i}.relu", **exact))
            if spec.head.dropout:
                stack.append(layers.Dropout(spec.head.dropout, seed=i, name=f"fc{i}.dropout", **exact))
        stack.append(layers.Dense(spec.classes, name=f"fc{len(spec.head.hidden) + 1}", **drawn, **exact))
        model = VGG(stack, name=re.sub(r"[^A-Za-z0-9.-]+", "_", spec.name).lstrip("_-") or "vgg")
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
