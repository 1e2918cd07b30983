import numpy as np
from keras import layers

# One image with two channels: 1 to 4 in the first, 5 to 8 in the second.
image = np.arange(1, 9).reshape(1, 2, 2, 2).transpose(0, 2, 3, 1)
print(layers.Flatten(dtype="int32")(image).numpy().tolist())
