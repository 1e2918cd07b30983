import keras
import tensorflow as tf

w = keras.Variable([1.0])
optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)
for _ in range(3):  # the gradient of the loss is 0
    optimizer.apply([tf.zeros(1)], [w])
print(f"w = {w.numpy()[0]:.5f}")
