import mxnet as mx
import numpy as np

x = np.ones((1, 4))  # NumPy's own type is float64
print("images:", mx.nd.array(x).dtype.__name__)
print("images with their type:", mx.nd.array(x, dtype=x.dtype).dtype.__name__)
