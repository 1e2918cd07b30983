"""The network vgg11_narrow in Keras, for images (N, 224, 224, 1)."""

import keras
from keras import layers

# (number of convolutions, channels) per block
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (4096, 4096)


def vgg_block(name, num_convs, channels):
    block = []
    for i in range(1, num_convs + 1):
        block.append(layers.Conv2D(channels, 3, padding="same", name=f"{name}.conv{i}"))
        block.append(layers.ReLU(name=f"{name}.relu{i}"))
    block.append(layers.MaxPooling2D(2, 2, name=f"{name}.pool"))
    return block


def vgg(arch):
    stack = [layers.Input((224, 224, 1))]
    for i, (num_convs, channels) in enumerate(arch, 1):
        stack += vgg_block(f"block{i}", num_convs, channels)
    # In the order H,W,C; torch and MXNet flatten in the order C,H,W.
    stack.append(layers.Flatten(name="flatten"))
    for i, units in enumerate(hidden, 1):
        stack.append(layers.Dense(units, name=f"fc{i}"))
        stack.append(layers.ReLU(name=f"fc{i}.relu"))
        stack.append(layers.Dropout(0.5, name=f"fc{i}.dropout"))
    stack.append(layers.Dense(10, name="fc3"))
    return keras.Sequential(stack)


# Keras' own initial values: Glorot's uniform (Xavier's), biases zero.
model = vgg(arch)


if __name__ == "__main__":
    model.summary()
