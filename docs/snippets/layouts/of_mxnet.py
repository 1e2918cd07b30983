from mxnet.gluon import nn

print("convolution", nn.Conv2D(64, (5, 7), in_channels=3).weight.shape)
print("dense", nn.Dense(10, in_units=100).weight.shape)
