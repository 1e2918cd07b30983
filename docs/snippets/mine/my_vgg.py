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


def vgg_block(block, channels, batch_norm=False):
    """Yield the names of a block's layers and the functions that compute them."""
    for i in range(1, len(block.convs) + 1):
        yield f"conv{i}", convolution
        yield f"relu{i}", lambda x: np.maximum(x, 0)
    yield "pool", pool


def trace(net, x, *, train=False):
    check_floats(x, net.spec)
    spec, outputs = net.spec, {}
    for i, block in enumerate(spec.blocks, 1):
        for name, layer in vgg_block(block, x.shape[1]):
            name = f"block{i}.{name}"
            own = (
                [net.weights[f"{name}.{part}"] for part in ("weight", "bias")]
                if "conv" in name
                else []
            )
            outputs[name] = x = layer(x, *own)
    outputs["flatten"] = x = flatten(x)
    for i in range(1, len(spec.head.hidden) + 2):
        weight, bias = (net.weights[f"fc{i}.{part}"] for part in ("weight", "bias"))
        outputs[f"fc{i}"] = x = x @ weight.T + bias
        if i <= len(spec.head.hidden):
            outputs[f"fc{i}.relu"] = x = np.maximum(x, 0)
            outputs[f"fc{i}.dropout"] = x  # dropout is off: this backend only infers
    return {name: output.copy() for name, output in outputs.items()}


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
    versions = {"numpy": np.__version__}
    return {"framework": "numpy", "versions": versions, "devices": ["cpu"], "flags": {}}
