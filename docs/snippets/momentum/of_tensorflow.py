import keras
import tensorflow as tf

w = keras.Variable([0.0])
optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
for lr in (1.0, 1.0, 0.1):  # the gradient is always 1
    optimizer.learning_rate = lr
    optimizer.apply([tf.ones(1)], [w])
    print(f"learning rate {lr}: w = {w.numpy()[0]:.3f}")
