import numpy as np
import tensorflow as tf
from keras import layers

x = tf.constant(np.ones((1, 4)))  # NumPy's own type is float64
print("images:", x.dtype.name)
print("layer:", layers.Dense(2)(x).dtype.name)
