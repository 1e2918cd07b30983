"""VGG in PyTorch, as a ``torch.nn.Sequential`` of stock layers.

Images are NCHW, weights of convolutions OIHW, those of dense layers (out, in). These are the canonical layouts, so the
state dict holds the canonical parameters, and ``load`` and ``dump`` change no axis.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.params import check_params
from ...core.spec import Spec
from .. import Array, Arrays, check_build
from .numbers import numpy


class LRN(nn.LocalResponseNorm):
    """Normalises over near channels in float32 at least, because 256 squared is too large for float16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (N, C, H, W) normalised, in its dtype."""
        return super().forward(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def vgg_block(
    block: Block,
    channels: int,
    batch_norm: bool = False,
    dtype: str = "float32",
    name: str = "block",  # noqa: ARG001 - torch names a module in its parent
) -> nn.Sequential:
    """Return one block for (N, ``channels``, H, W): convolutions, each with ReLU, then a max-pool."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    numbers = {"dtype": getattr(torch, dtype)}
    for i, conv in enumerate(block.convs, 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding, **numbers)
        if batch_norm:
            # torch's momentum is the share of the new statistic; in other frameworks it is the share of the old one.
            momentum = 1 - BATCH_NORM_MOMENTUM
            layers[f"bn{i}"] = nn.BatchNorm2d(conv.channels, eps=BATCH_NORM_EPSILON, momentum=momentum, **numbers)
        layers[f"relu{i}"] = nn.ReLU()
        if conv.lrn:
            # torch divides alpha by the size of the window; Krizhevsky does not.
            layers[f"lrn{i}"] = LRN(LRN_SIZE, alpha=LRN_ALPHA * LRN_SIZE, beta=LRN_BETA, k=LRN_K)
        channels = conv.channels
    if block.pool:
        layers["pool"] = nn.MaxPool2d(block.pool.kernel, block.pool.stride)
    return nn.Sequential(layers)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> nn.Sequential:
    """Return ``spec`` as an ``nn.Sequential`` with the parameters ``vgg.init(spec)``.

    Its state dict has the canonical names. ``dtype`` is float32 or float64, ``device`` cpu or gpu. Raises ``VGGError``
    for others.
    """
    check_build(dtype, device, torch.cuda.device_count)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with torch.device("meta"):  # shapes only; otherwise the layers would draw values from the generator of the process
        channels = spec.input_shape[0]
        for i, block in enumerate(spec.blocks, 1):
            layers[f"block{i}"] = vgg_block(block, channels, spec.batch_norm, dtype, f"block{i}")
            channels = block.convs[-1].channels
        if spec.head.global_pool:
            layers["global_avg_pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        else:
            layers["flatten"] = nn.Flatten()  # in the order C,H,W
        width = channels if spec.head.global_pool else int(np.prod(spec.feature_shape))
        for i, hidden in enumerate(spec.head.hidden, 1):
            layers[f"fc{i}"] = nn.Linear(width, hidden, dtype=getattr(torch, dtype))
            layers[f"fc{i}_relu"] = nn.ReLU()  # fc1.relu in the layer table; a module's name holds no dot
            if spec.head.dropout:
                layers[f"fc{i}_dropout"] = nn.Dropout(spec.head.dropout)
            width = hidden
        layers[f"fc{len(spec.head.hidden) + 1}"] = nn.Linear(width, spec.classes, dtype=getattr(torch, dtype))
    model = nn.Sequential(layers).to_empty(device="cuda" if device == "gpu" else device)
    model.spec = spec
    return load(model, init(spec, dtype=dtype))


def load(model: nn.Sequential, params: Mapping[str, Array]) -> nn.Sequential:
    """Copy these canonical parameters into ``model``, rounded to its dtype, and return ``model``.

    Raises ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    check_params(params, model.spec)
    state = {name: torch.from_numpy(np.array(array)) for name, array in params.items()}
    counters = [name for name in model.state_dict() if name.endswith("num_batches_tracked")]
    model.load_state_dict(state | dict.fromkeys(counters, torch.tensor(0)))  # canonical parameters include no counter
    return model


def dump(model: nn.Sequential) -> Arrays:
    """Return copies of the parameters, ``{canonical name: array}``."""
    state = {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {name: numpy(tensor) for name, tensor in state.items()}
