"""Numbers of a Keras model: activations, loss and gradients, as NumPy arrays under canonical names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ...core.blocks import Block, Conv, Head, Pool
from ...core.errors import mismatch
from ...core.layouts import activation_from_hwc, from_hwc
from ...core.spec import Spec
from .. import Array, Arrays, check_batch, check_floats
from ..bookkeeping import SLOTS

if keras.backend.backend() != "tensorflow":
    do = "set KERAS_BACKEND=tensorflow before Keras is imported"
    raise mismatch("keras.backend.backend()", keras.backend.backend(), "tensorflow", do)

MODAL = (keras.layers.BatchNormalization, keras.layers.Dropout)
"""Layers that act differently in training."""


def forward(model: keras.Sequential, x: Array, *, train: bool = False) -> Array:
    """Return the logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, spec_of(model))
    with _pure(model):
        return model(tensor(model, x), training=train).numpy()


def trace(model: keras.Sequential, x: Array, *, train: bool = False) -> Arrays:
    """Return the output of every layer by layer name, as NCHW; the logits are the last."""
    activations: Arrays = {}
    spec = spec_of(model)
    check_floats(x, spec)
    with _pure(model):
        out = tensor(model, x)
        for name, layer in layers(model):
            out = layer(out, training=train) if isinstance(layer, MODAL) else layer(out)
            if not isinstance(layer, keras.layers.ZeroPadding2D):
                activations[name] = activation_from_hwc(spec, name, out.numpy())
    return activations


def loss_and_grads(model: keras.Sequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and the gradient of every parameter.

    Raises ``VGGError`` when images or labels do not fit the network.
    """
    check_floats(x, spec_of(model))
    check_batch(x, y, spec_of(model))
    with _pure(model), tf.GradientTape() as tape:
        loss = tf.reduce_mean(losses(model(tensor(model, x), training=train), y))
        grads = tape.gradient(loss, model.trainable_variables)
    return float(loss), canonical(model, grads)


def facts() -> dict[str, Any]:
    """Return versions, devices, and options that change numbers."""
    return {
        "framework": f"tensorflow {tf.__version__}",
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(gpu.name for gpu in tf.config.list_physical_devices("GPU"))],
        "gpus": gpus(),
        "flags": {
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads() or "default",
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        },
    }


def gpus() -> int:
    """Return the number of GPUs that TensorFlow sees."""
    return len(tf.config.list_physical_devices("GPU"))


@keras.saving.register_keras_serializable(package="vgg")
class VGG(keras.Sequential):
    """Applies layers in a row, and keeps the spec that they were made from; Keras saves both."""

    spec: Spec

    def get_config(self) -> dict[str, Any]:
        """Return what Keras writes into a file."""
        return {**super().get_config(), "spec": self.spec.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> VGG:
        """Return the model that ``get_config`` described."""
        model = super().from_config(config, custom_objects)
        model.spec = Spec.from_dict(config["spec"])
        return model


def spec_of(model: keras.Sequential) -> Spec:
    """Return the spec that ``build`` was given.

    ``keras.models.clone_model`` makes a plain ``Sequential``; its layers tell the spec.
    """
    if isinstance(model, VGG):
        return model.spec
    found = [layer for _, layer in layers(model)]
    blocks = tuple(_block(child) for child in model.layers if isinstance(child, keras.Sequential))
    *hidden, classes = (layer.units for layer in found if isinstance(layer, keras.layers.Dense))
    rates = [layer.rate for layer in found if isinstance(layer, keras.layers.Dropout)]
    pooled = any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in found)
    normalised = any(isinstance(layer, keras.layers.BatchNormalization) for layer in found)
    height, width, channels = model.input_shape[1:]
    head = Head(tuple(hidden), max(rates, default=0.0), pooled)
    return Spec(blocks, (channels, height, width), classes, head, normalised, model.name)


def _block(stack: keras.Sequential) -> Block:
    named = {layer.name: layer for layer in stack.layers}
    convs = []
    for i, conv in enumerate((layer for layer in stack.layers if isinstance(layer, keras.layers.Conv2D)), 1):
        kernel, pad = conv.kernel_size[0], named.get(f"pad{i}")
        outside = kernel // 2 if conv.padding == "same" else pad.padding[0][0] if pad else 0
        convs.append(Conv(conv.filters, kernel, conv.strides[0], outside, f"lrn{i}" in named))
    pool = named.get("pool")
    return Block(tuple(convs), Pool(pool.pool_size[0], pool.strides[0]) if pool else None)


def layers(model: keras.Sequential) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield (name in the layer table, layer) in the order of computation."""
    for child in model.layers:
        if isinstance(child, keras.Sequential):
            yield from ((f"{child.name}.{layer.name}", layer) for layer in child.layers)
        else:
            yield child.name, child


def variables(model: keras.Sequential) -> dict[str, keras.Variable]:
    """Return ``{canonical name: variable}``, with the running statistics."""
    owned = ((name, v) for name, layer in layers(model) for v in layer.weights)
    return {f"{name}.{SLOTS.get(v.name, v.name)}": v for name, v in owned}


def trained(model: keras.Sequential) -> list[str]:
    """Return the canonical names of ``model.trainable_variables``, in their order."""
    return [name for name, v in variables(model).items() if v.trainable]


def canonical(model: keras.Sequential, tensors: Any) -> Arrays:
    """Return ``{canonical name: array}`` for tensors in the order of ``model.trainable_variables``."""
    spec = spec_of(model)
    return {n: from_hwc(spec, n, t.numpy()) for n, t in zip(trained(model), tensors, strict=True)}


def place(model: keras.Sequential) -> str:
    """Return the model's device, as TensorFlow writes it."""
    return "/GPU:0" if "GPU" in model.weights[0].value.device else "/CPU:0"


def dtype(model: keras.Sequential) -> str:
    """Return the parameters' dtype, which Keras saves with the layers, not with a ``Sequential``."""
    return model.layers[-1].variable_dtype


def tensor(model: keras.Sequential, x: Array) -> tf.Tensor:
    """Return ``x`` as NHWC on the model's device, in its dtype."""
    with tf.device(place(model)):
        return tf.constant(np.transpose(x, (0, 2, 3, 1)), dtype(model))


def losses(logits: tf.Tensor, y: Any) -> tf.Tensor:
    """Return the cross-entropy of every example."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow TensorFloat-32 on a GPU, or not, within the block: TensorFlow's switch is the whole process'."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def seed(model: keras.Sequential, seeds: list[int]) -> None:
    """Seed the dropout masks, with one seed for each replica of this process."""
    dropouts = (layer for _, layer in layers(model) if isinstance(layer, keras.layers.Dropout))
    for i, layer in enumerate(dropouts):
        state = layer.seed_generator.state.value
        for number, own in zip(seeds, getattr(state, "values", [state]), strict=False):
            own.assign([number, i << 32])


@contextmanager
def _pure(model: keras.Sequential) -> Iterator[None]:
    """Seed the dropout masks afresh, and put seeds and running statistics back afterwards."""
    kept = [v.numpy() for v in model.non_trainable_variables]
    seed(model, [0])
    try:
        with tf32(allowed=False), tf.device(place(model)):
            yield
    finally:
        for v, old in zip(model.non_trainable_variables, kept, strict=True):
            v.assign(old)
