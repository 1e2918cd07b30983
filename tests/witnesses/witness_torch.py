"""torchvision's VGGs as a backend for ``vgg.worker``, their parameters under canonical names.

Of the nine functions, four are our sibling's: the contract wants them, no witness is asked for them. Nothing needs
stating: epsilon 1e-5, momentum 0.1 and two dropouts of 0.5 are ours too, and at 224 pixels the adaptive average pool to
7x7 changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vgg.backends import Array, Arrays
from vgg.backends import torch as sibling
from vgg.core.params import shapes
from vgg.core.spec import Spec
from vgg.timing.baselines.torch import torchvision

vgg_block, trace = sibling.vgg_block, sibling.trace
loss_and_grads, learner = sibling.loss_and_grads, sibling.learner


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """The model that torchvision gives under the spec's name, with torchvision's initial values."""
    torch.manual_seed(0)
    model = getattr(torchvision().models, spec.name)(num_classes=spec.classes).to(device, getattr(torch, dtype))
    model.spec = spec
    return model.eval()


def load(model: Any, params: Mapping[str, Array]) -> Any:
    """Copy canonical parameters, all or some, into ``model``."""
    named = _named(model)
    for name, array in params.items():
        named[name].copy_(torch.tensor(array))
    return model


def dump(model: Any) -> Arrays:
    """Canonical parameters of ``model`` in the float32 that torchvision draws them in, whatever they became."""
    return {name: np.array(tensor, np.float32) for name, tensor in _named(model).items()}


def forward(model: Any, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    with torch.no_grad():
        return np.asarray(model.train(train)(torch.tensor(x)))


def facts() -> dict[str, Any]:
    """What the sibling says, and the zoo."""
    return {**sibling.facts(), "framework": f"torchvision {torchvision().__version__}"}


def _named(model: Any) -> dict[str, torch.Tensor]:
    """Canonical name -> tensor: both sides in the order of computation, with torch's words for a layer's parts."""
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    names = list(shapes(model.spec))
    assert [name.rpartition(".")[2] for name in names] == [name.rpartition(".")[2] for name in own]
    return dict(zip(names, own.values(), strict=True))
