import mxnet as mx
from mxnet.gluon import nn

# One image with two channels: 1 to 4 in the first, 5 to 8 in the second.
image = mx.nd.arange(1, 9).reshape((1, 2, 2, 2))
print(nn.Flatten()(image).astype("int32").asnumpy().tolist())
