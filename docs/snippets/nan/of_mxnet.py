import mxnet as mx
from mxnet.gluon import nn

x = mx.nd.full((1, 1, 2, 2), float("nan"))
relu, pooled = nn.Activation("relu")(x).asnumpy(), nn.MaxPool2D(2)(x).asnumpy()
print(f"ReLU {relu.max():.4g}, max-pool {pooled.max():.4g}")
