import mxnet as mx
from mxnet import autograd
from mxnet.gluon import nn

layer, x = nn.Dropout(0.5), mx.nd.ones(1000)
print("as called: drops", bool((layer(x) == 0).sum().asscalar()))
with autograd.record():
    y = layer(x)
print("inside record(): drops", bool((y == 0).sum().asscalar()))
