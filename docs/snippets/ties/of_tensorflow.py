import tensorflow as tf
from keras import layers

x = tf.ones((1, 2, 2, 1))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.reduce_sum(layers.MaxPooling2D(2)(x))
print(tape.gradient(y, x).numpy().flatten().tolist())
