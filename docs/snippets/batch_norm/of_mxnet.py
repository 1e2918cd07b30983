import mxnet as mx
from mxnet import autograd, gluon

layer = gluon.nn.BatchNorm(in_channels=1)
layer.initialize()
with autograd.record():
    y = layer(mx.nd.array([[0.0], [4.0]]))  # mean 2; variance 4 by n, 8 by n - 1
print(f"mean {layer.running_mean.data().asscalar():.2f} before backward()")
y.backward()
mean, var = layer.running_mean.data().asscalar(), layer.running_var.data().asscalar()
print(f"momentum {layer._kwargs['momentum']}, epsilon {layer._kwargs['eps']}")
print(f"mean {mean:.2f}, var {var:.2f}")
