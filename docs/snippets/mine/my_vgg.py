"""A VGG in plain NumPy, as a backend that claims inference in float64."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vgg import init
from vgg.backends import check_floats
from vgg.core.params import check_params

LEVEL = "inference"
DTYPES = ("float64",)


@dataclass
class Net:
    spec: object
    weights: dict


def convolution(x, weight, bias):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    return sums + bias[:, None, None]


def pool(x):
    height, width = x.shape[2] // 2, x.shape[3] // 2
    windows = x[:, :, : 2 * height, : 2 * width]
    return windows.reshape(*x.shape[:2], height, 2, width, 2).max(axis=(3, 5))


def flatten(x):
    return x.reshape(len(x), -1)


def dense(x, weight, bias):
    return x @ weight.T + bias


def relu(x):
    return np.maximum(x, 0)


def vgg_block(block, channels, batch_norm=False):
    """Return the layers of a block by name."""
    layers = {}
    for i in range(1, len(block.convs) + 1):
        layers |= {f"conv{i}": convolution, f"relu{i}": relu}
    return layers | {"pool": pool}


def parameters(net, name):
    names = (f"{name}.weight", f"{name}.bias")
    return [net.weights[name] for name in names if name in net.weights]


def trace(net, x, *, train=False):
    """Return the output of every layer, under the names of the layer table."""
    check_floats(x, net.spec)
    layers = {}
    for i, block in enumerate(net.spec.blocks, 1):
        own = vgg_block(block, x.shape[1])
        layers |= {f"block{i}.{name}": layer for name, layer in own.items()}
    layers["flatten"] = flatten
    hidden = len(net.spec.head.hidden)
    for i in range(1, hidden + 1):
        layers |= {f"fc{i}": dense, f"fc{i}.relu": relu, f"fc{i}.dropout": np.copy}
    layers[f"fc{hidden + 1}"] = dense
    outputs = {}
    for name, layer in layers.items():
        outputs[name] = x = layer(x, *parameters(net, name))
    return outputs


def forward(net, x, *, train=False):
    return list(trace(net, x).values())[-1]


def build(spec, *, dtype="float64", device="cpu"):
    return load(Net(spec, {}), init(spec, dtype=dtype))


def load(net, params):
    check_params(params, net.spec)
    net.weights = {name: np.array(array, "float64") for name, array in params.items()}
    return net


def dump(net):
    return {name: array.copy() for name, array in net.weights.items()}


def facts():
    """Return what a report says of the framework."""
    versions = {"numpy": np.__version__}
    return {"framework": "numpy", "versions": versions, "devices": ["cpu"], "flags": {}}
