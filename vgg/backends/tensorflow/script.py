"""Scripts that ``vgg code`` prints for Keras, executed for the suite."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from ...core.spec import Spec
from .. import Array, Step
from ..bookkeeping import executed
from .numbers import VGG


def scripted(source: str, spec: Spec, *, dtype: str = "float32") -> tuple[VGG, Step | None]:
    """Execute a script; return its model, and its training step if it has one; see ``vgg.backends``.

    The model is a new ``keras.Sequential`` of the script's layers.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        names = executed(source)
    finally:
        keras.config.set_dtype_policy(before)
    channels, *sides = spec.input_shape
    model = VGG([keras.layers.Input((*sides, channels), dtype=dtype), *names["model"].layers])
    model.spec = spec

    def step(x: Array, y: Array) -> float:
        batch = tf.data.Dataset.from_tensors((np.moveaxis(x, 1, 3), y)).map(names["prepare"])
        return names["model"].fit(batch, verbose=0).history["loss"][0]

    return model, step if "prepare" in names else None
