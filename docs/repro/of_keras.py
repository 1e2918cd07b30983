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


def not_a_number() -> None:
    """ReLU and max-pool of NaN."""
    x = tf.fill((1, 2, 2, 1), float("nan"))
    relu, pooled = (float(tf.reduce_max(layer(x))) for layer in (keras.layers.ReLU(), keras.layers.MaxPooling2D()))
    print(f"NaN: ReLU gives {relu}, max-pool {pooled:.6g}, wanted nan")


def denormals() -> None:
    """Numbers below the smallest normal one."""
    print(f"denormals in float64: 2 * 5e-310 = {float(2 * tf.constant(5e-310, tf.float64))}, wanted 1e-309")


def order_of_sums() -> None:
    """``add_n`` of three arrays that others read too, up to 3000 times: it adds first what is free first."""
    a, b, c = (tf.random.stateless_normal((1 << 20,), (0, seed)) for seed in range(3))

    @tf.function
    def total() -> tuple[tf.Tensor, list[tf.Tensor]]:
        terms = [tf.exp(a), tf.exp(b), tf.exp(c)]
        return tf.add_n(terms), [tf.reduce_sum(tf.sin(term)) for term in terms]

    results = set[bytes]()
    for _ in range(3000):
        results.add(total()[0].numpy().tobytes())
        if len(results) > 1:
            break
    print(f"add_n: {len(results)} results, wanted 1")


def policy_that_stays() -> None:
    """A layer that is lent to a step in bf16."""
    layer = keras.layers.Dense(1)
    layer.build((None, 3))
    layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    y = layer(np.full((1, 3), 1 / 3, "float32"))
    print(f"after a step in bf16: weights {layer.kernel.dtype}, output {y.dtype.name}")


if __name__ == "__main__":
    input_without_dtype()
    lrn_in_float64()
    not_a_number()
    denormals()
    order_of_sums()
    policy_that_stays()
