import numpy as np
import tensorflow as tf
from keras import losses

logits = np.zeros((1, 3), "float32")
loss = losses.SparseCategoricalCrossentropy(from_logits=True)
for label in (np.array([1]), np.array([1.0]), np.array([7])):
    try:
        print(label.dtype, label[0], f"{loss(label, logits):.4f}")
    except tf.errors.InvalidArgumentError as error:
        print(label.dtype, label[0], type(error).__name__)
