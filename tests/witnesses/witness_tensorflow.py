"""``keras.applications``' VGGs as a backend for ``vgg.worker``, their parameters under canonical names.

Of the nine functions, four are our sibling's: the contract wants them, no witness is asked for them. Built without the
softmax they end in. They have no dropout at all, so they are ours in eval mode only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it once, at import

import keras
import numpy as np

from vgg.backends import Array, Arrays
from vgg.backends import tensorflow as sibling
from vgg.core.spec import Spec

setup, vgg_block, trace = sibling.setup, sibling.vgg_block, sibling.trace
loss_and_grads, learner = sibling.loss_and_grads, sibling.learner


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """The model that Keras gives under the spec's name, with Keras' initial values."""
    keras.utils.set_random_seed(0)
    keras.config.set_floatx(dtype)  # of the input
    keras.config.set_dtype_policy(dtype)  # of the layers
    zoo = getattr(keras.applications, spec.name.upper())
    with keras.device(device):
        return zoo(weights=None, classes=spec.classes, classifier_activation=None)


def load(model: Any, params: Mapping[str, Array]) -> Any:
    """Copy canonical parameters, all or some, into ``model``."""
    named = _named(model)
    for name, array in params.items():
        named[name].assign(_to_native(name, array))
    return model


def dump(model: Any) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return {name: np.array(_from_native(name, v.numpy()), order="C") for name, v in _named(model).items()}


def forward(model: Any, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    return np.asarray(model(np.moveaxis(x, 1, 3), training=train))


def facts() -> dict[str, Any]:
    """What the sibling says, and the zoo."""
    return {**sibling.facts(), "framework": f"keras {keras.__version__}"}


def _named(model: Any) -> dict[str, Any]:
    """Canonical name -> variable."""
    renamed = {"predictions": "fc3", "kernel": "weight"}
    return {
        f"{renamed.get(layer.name, layer.name.replace('_', '.'))}.{renamed.get(v.name, v.name)}": v
        for layer in model.layers
        for v in layer.weights
    }


def _from_native(name: str, array: Array) -> Array:
    """Written out here, not borrowed: ours could be wrong both ways."""
    if name == "fc1.weight":
        return array.reshape(7, 7, 512, -1).transpose(3, 2, 0, 1).reshape(-1, 512 * 7 * 7)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _to_native(name: str, array: Array) -> Array:
    if name == "fc1.weight":
        return array.reshape(-1, 512, 7, 7).transpose(2, 3, 1, 0).reshape(7 * 7 * 512, -1)
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
