import numpy as np
from keras import layers

x = np.array([[[1.0], [2], [3], [4]]])
ones = {"kernel_initializer": "ones", "use_bias": False}
conv = layers.Conv1D(1, 3, strides=2, padding="same", **ones)
print("sums of three, stride 2:", conv(x).numpy().flatten().tolist())
pool = layers.MaxPooling1D(2, 2, padding="same")
print("pool of 5 values gives", pool(np.ones((1, 5, 1))).shape[1])
