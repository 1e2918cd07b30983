import numpy as np
from keras import layers

x = np.full((1, 2, 2, 1), np.nan, "float32")
relu, pooled = layers.ReLU()(x).numpy(), layers.MaxPooling2D(2)(x).numpy()
print(f"ReLU {relu.max():.4g}, max-pool {pooled.max():.4g}")
