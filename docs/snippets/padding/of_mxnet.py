import mxnet as mx
from mxnet.gluon import nn

x = mx.nd.array([[[1.0, 2, 3, 4]]])
conv = nn.Conv1D(1, 3, strides=2, padding=1, use_bias=False, in_channels=1)
conv.initialize(mx.init.One())
print("sums of three, stride 2:", conv(x).asnumpy().flatten().tolist())
pool = nn.MaxPool1D(2, 2)
print("pool of 5 values gives", pool(mx.nd.ones((1, 1, 5))).shape[-1])
