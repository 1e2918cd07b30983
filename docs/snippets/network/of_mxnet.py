"""The network vgg11_narrow in MXNet Gluon, for images (N, 1, 224, 224)."""

import mxnet as mx
from mxnet.gluon import nn

# (number of convolutions, channels) per block
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (4096, 4096)


def vgg_block(name, num_convs, channels):
    block = nn.HybridSequential(prefix=f"{name}_")
    with block.name_scope():
        for i in range(1, num_convs + 1):
            block.add(nn.Conv2D(channels, 3, padding=1, prefix=f"conv{i}_"))
            block.add(nn.Activation("relu", prefix=f"relu{i}_"))
        block.add(nn.MaxPool2D(2, 2, prefix="pool_"))
    return block


def vgg(arch):
    net = nn.HybridSequential(prefix="")
    for i, (num_convs, channels) in enumerate(arch, 1):
        net.add(vgg_block(f"block{i}", num_convs, channels))
    # In the order C,H,W; Keras and Flax flatten in the order H,W,C.
    net.add(nn.Flatten(prefix="flatten_"))
    for i, units in enumerate(hidden, 1):
        net.add(nn.Dense(units, prefix=f"fc{i}_"))
        net.add(nn.Activation("relu", prefix=f"fc{i}_relu_"))
        net.add(nn.Dropout(0.5, prefix=f"fc{i}_dropout_"))
    net.add(nn.Dense(10, prefix="fc3_"))
    return net


net = vgg(arch)
net.initialize(mx.init.Xavier())  # biases are zero


if __name__ == "__main__":
    net.summary(mx.nd.zeros((1, 1, 224, 224)))
