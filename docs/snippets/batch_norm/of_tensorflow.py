import numpy as np
from keras import layers

layer = layers.BatchNormalization()
layer(np.array([[0.0], [4.0]]), training=True)  # mean 2; variance 4 by n, 8 by n - 1
mean, var = layer.moving_mean.numpy(), layer.moving_variance.numpy()
print(f"momentum {layer.momentum}, epsilon {layer.epsilon}")
print(f"mean {mean[0]:.2f}, var {var[0]:.2f}")
