"""The network vgg11_narrow in PyTorch, for images (N, 1, 224, 224)."""

from collections import OrderedDict

import torch
from torch import nn

# (number of convolutions, channels) per block
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (4096, 4096)


def vgg_block(in_channels, num_convs, channels):
    layers = OrderedDict()
    for i in range(1, num_convs + 1):
        layers[f"conv{i}"] = nn.Conv2d(in_channels, channels, 3, padding=1)
        layers[f"relu{i}"] = nn.ReLU()
        in_channels = channels
    layers["pool"] = nn.MaxPool2d(2, 2)
    return nn.Sequential(layers)


def vgg(arch):
    layers, in_channels = OrderedDict(), 1
    for i, (num_convs, channels) in enumerate(arch, 1):
        layers[f"block{i}"] = vgg_block(in_channels, num_convs, channels)
        in_channels = channels
    # In the order C,H,W; Keras and Flax flatten in the order H,W,C.
    layers["flatten"] = nn.Flatten()
    features = in_channels * 7 * 7
    for i, units in enumerate(hidden, 1):
        layers[f"fc{i}"] = nn.Linear(features, units)
        layers[f"fc{i}_relu"] = nn.ReLU()
        layers[f"fc{i}_dropout"] = nn.Dropout(0.5)
        features = units
    layers["fc3"] = nn.Linear(features, 10)
    return nn.Sequential(layers)


model = vgg(arch)
for layer in model.modules():
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


if __name__ == "__main__":
    x = torch.zeros(1, 1, 224, 224)
    for name, layer in model.eval().named_children():
        x = layer(x)
        print(f"{name:16} {tuple(x.shape)}")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
