"""Scripts that ``vgg code`` prints for Gluon, executed for the suite."""

from __future__ import annotations

import mxnet as mx
from mxnet.gluon import nn

from ...core.spec import Spec
from .. import Array, Step
from ..bookkeeping import executed


def scripted(source: str, spec: Spec, *, dtype: str = "float32") -> tuple[nn.HybridSequential, Step | None]:
    """Execute a script; return its model, and its training step if it has one; see ``vgg.backends``.

    The model has the script's layers as attributes under the names of ``build``. MXNet has no default dtype, so
    for float64 the net is cast, and loads its weights again.
    """
    names = executed(source)
    net = names["net"]
    if dtype != "float32":
        net.cast(dtype)
        names["load_weights"](net, names["weights"])

    def step(x: Array, y: Array) -> float:
        return names["train_step"](mx.nd.array(x, dtype=x.dtype), mx.nd.array(y)).asscalar().item()

    return _renamed(net, spec), step if "train_step" in names else None


def _renamed(net: nn.HybridSequential, spec: Spec) -> nn.HybridSequential:
    model = nn.HybridSequential()
    model.spec = spec
    pooled = nn.HybridSequential()
    for child in net:
        if child.name.startswith("block"):
            block = nn.HybridSequential()
            for layer in child:
                setattr(block, layer.name.rpartition("_")[2], layer)
            setattr(model, child.name, block)
        elif spec.head.global_pool and child.name in ("global_avg_pool", "flatten"):
            pooled.add(child)
            model.global_avg_pool = pooled
        else:
            setattr(model, child.name, child)
    dtype = next(iter(net.collect_params().values())).dtype
    model(mx.nd.zeros((1, *spec.input_shape), dtype=dtype))  # from which Gluon infers the shapes of parameters
    return model
