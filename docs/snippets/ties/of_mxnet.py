import mxnet as mx
from mxnet import autograd
from mxnet.gluon import nn

x = mx.nd.ones((1, 1, 2, 2))
x.attach_grad()
with autograd.record():
    y = nn.MaxPool2D(2)(x)
y.backward()
print(x.grad.asnumpy().flatten().tolist())
