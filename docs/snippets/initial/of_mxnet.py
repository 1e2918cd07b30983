import mxnet as mx
import numpy as np

mx.random.seed(0)
layer = mx.gluon.nn.Conv2D(256, 3, in_channels=64)  # 576 terms in every sum
layer.initialize()
weight, bias = layer.weight.data().asnumpy(), layer.bias.data().asnumpy()
print(f"largest weight {np.abs(weight).max():.3f}, std {weight.std():.3f}")
print(f"largest bias {np.abs(bias).max():.3f}")
