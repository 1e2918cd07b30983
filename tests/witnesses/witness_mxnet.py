"""``gluon.model_zoo``'s VGGs as a backend for ``vgg.worker``, their parameters under canonical names.

Of the nine functions, four are our sibling's: the contract wants them, no witness is asked for them. Nothing needs
stating: epsilon 1e-5, momentum 0.9 and two dropouts of 0.5 are ours too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon.model_zoo import vision

from vgg.backends import Array, Arrays
from vgg.backends import mxnet as sibling
from vgg.core.params import shapes
from vgg.core.spec import Spec

vgg_block, trace = sibling.vgg_block, sibling.trace
loss_and_grads, learner = sibling.loss_and_grads, sibling.learner
_SUFFIXES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
    """The model that Gluon gives under the spec's name, with Gluon's initial values."""
    mx.random.seed(0)
    model = getattr(vision, spec.name)(classes=spec.classes)
    model.infer_shape(mx.nd.zeros((1, *spec.input_shape)))
    model.initialize(ctx=getattr(mx, device)())
    model.cast(dtype)
    model.spec = spec
    return model


def load(model: Any, params: Mapping[str, Array]) -> Any:
    """Copy canonical parameters, all or some, into ``model``."""
    named = _named(model)
    for name, array in params.items():
        named[name].set_data(mx.nd.array(array, dtype=array.dtype))
    return model


def dump(model: Any) -> Arrays:
    """Canonical parameters of ``model`` in the float32 that Gluon draws them in, whatever they became."""
    return {name: parameter.data().astype("float32").asnumpy() for name, parameter in _named(model).items()}


def forward(model: Any, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    with autograd.train_mode() if train else autograd.predict_mode():
        return np.asarray(model(mx.nd.array(x, dtype=x.dtype)).asnumpy())


def facts() -> dict[str, Any]:
    """What the sibling says, and the zoo."""
    return {**sibling.facts(), "framework": f"gluon.model_zoo of mxnet {mx.__version__}"}


def _named(model: Any) -> dict[str, Any]:
    """Canonical name -> parameter: both sides in the order of computation, with Gluon's words for a layer's parts."""
    own = model.collect_params()
    names, words = list(shapes(model.spec)), [name.rpartition("_")[2] for name in own]
    assert [_SUFFIXES.get(word, word) for word in words] == [name.rpartition(".")[2] for name in names]
    return dict(zip(names, own.values(), strict=True))
