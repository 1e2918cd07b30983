import numpy as np
from keras import layers

layer, x = layers.Dropout(0.5), np.ones(1000, "float32")
print("as called: drops", bool((layer(x).numpy() == 0).any()))
y = layer(x, training=True)
print("with training=True: drops", bool((y.numpy() == 0).any()))
