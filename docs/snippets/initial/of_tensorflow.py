import keras
import numpy as np

keras.utils.set_random_seed(0)
layer = keras.layers.Conv2D(256, 3)  # 576 terms in every sum
layer.build((None, 8, 8, 64))
weight, bias = layer.get_weights()
print(f"largest weight {np.abs(weight).max():.3f}, std {weight.std():.3f}")
print(f"largest bias {np.abs(bias).max():.3f}")
