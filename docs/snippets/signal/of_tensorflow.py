import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.random.randn(4, 16, 16, 32).astype("float32")
for depth in range(1, 17):
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    if depth in (1, 4, 8, 16):
        print(f"after {depth:2} layers: std {x.numpy().std():.1e}")
