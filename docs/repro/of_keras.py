"""What Keras 3.15 on TensorFlow 2.21 does otherwise than one would think; docs/divergences.md."""

import keras
import numpy as np
import tensorflow as tf


def input_without_dtype() -> None:
    """A float64 model's images on their way through ``Input``."""
    x = np.array([[1 / 3]])
    for told in ({}, {"dtype": "float64"}):
        layers = [keras.layers.Input((1,), **told), keras.layers.Activation("linear", dtype="float64")]
        y = keras.Sequential(layers)(x).numpy()
        print(f"Input({', '.join(told)}): {y.dtype}, off by {abs(y - x).max():.1e}, wanted float64, off by 0.0e+00")


def lrn_in_float64() -> None:
    """An operator that has no float64."""
    try:
        tf.nn.local_response_normalization(tf.ones((1, 2, 2, 5), tf.float64))
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        print(f"LRN in float64: {str(error).splitlines()[0][:90]}")


if __name__ == "__main__":
    input_without_dtype()
    lrn_in_float64()
