import mxnet as mx
from mxnet.gluon import nn

mx.random.seed(0)
x = mx.nd.random.randn(4, 32, 16, 16)
for depth in range(1, 17):
    layer = nn.Conv2D(32, 3, padding=1, in_channels=32, activation="relu")
    layer.initialize()
    x = layer(x)
    if depth in (1, 4, 8, 16):
        print(f"after {depth:2} layers: std {x.asnumpy().std():.1e}")
