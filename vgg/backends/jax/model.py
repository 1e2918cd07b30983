"""VGG in JAX: a ``flax.linen.Module`` of stock layers, and apart from it the variables that ``module.apply`` takes.

Images are NHWC, convolutions HWIO, dense layers (in, out), and what is flattened is in H,W,C order: ``load`` and
``dump`` move axes, and permute the inputs of ``fc1``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.params import check_params
from ...core.spec import Spec
from .. import Array, Arrays, check_build
from ..bookkeeping import near_channels
from .numbers import Model, blank, canonical, exact, filled, shown


class VGGBlock(nn.Module):
    """What ``vgg_block`` makes. It computes in ``dtype``; its parameters are float64 where that is, else float32."""

    block: Block
    batch_norm: bool
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, pool: Any = nn.max_pool) -> jax.Array:
        for i, conv in enumerate(self.block.convs, 1):
            window, types = (conv.kernel, conv.kernel), exact(self.dtype)
            x = nn.Conv(conv.channels, window, conv.stride, conv.padding, name=f"conv{i}", **types)(x)
            if self.batch_norm:
                # Flax' momentum is the share kept of the old statistic. The fast variance, E[x^2] - E[x]^2, which Flax
                # takes by default, cancels in float32; nobody else takes it.
                running = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "use_fast_variance": False}
                x = nn.BatchNorm(not train, name=f"bn{i}", **running, **types)(x)
            x = shown(self, f"relu{i}", nn.relu(x))
            x = shown(self, f"lrn{i}", _lrn(x)) if conv.lrn else x
        size = self.block.pool
        return shown(self, "pool", pool(x, (size.kernel,) * 2, (size.stride,) * 2)) if size else x


class VGG(nn.Module):
    """Images (N, H, W, C) to logits (N, classes). ``pool`` may be another function that is called as this one is."""

    spec: Spec
    dtype: str = "float32"
    pool: Any = nn.max_pool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        head, types = self.spec.head, exact(self.dtype)
        for i, block in enumerate(self.spec.blocks, 1):
            x = vgg_block(block, x.shape[-1], self.spec.batch_norm, self.dtype, f"block{i}")(x, train, self.pool)
        pooled, flat = head.global_pool, "global_avg_pool" if head.global_pool else "flatten"
        x = shown(self, flat, x.mean(axis=(1, 2)) if pooled else x.reshape(len(x), -1))  # in H,W,C order
        for i, hidden in enumerate(head.hidden, 1):
            x = shown(self, f"fc{i}.relu", nn.relu(nn.Dense(hidden, name=f"fc{i}", **types)(x)))
            if head.dropout:
                x = nn.Dropout(head.dropout, deterministic=not train, name=f"fc{i}.dropout")(x)
        logits = nn.Dense(self.spec.classes, name=f"fc{len(head.hidden) + 1}", **types)(x)
        return logits.astype(types["param_dtype"])  # as wide as the parameters, for the loss


def vgg_block(
    block: Block,
    channels: int,  # noqa: ARG001 - Flax infers them from what a module is called with
    batch_norm: bool = False,
    dtype: str = "float32",
    name: str = "block",
) -> VGGBlock:
    """One block: convolutions with ReLU, then a max-pool; (N, H, W, C) throughout."""
    return VGGBlock(block, batch_norm, dtype, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Model:
    """``module, variables = build(spec)``: ``spec`` as a Flax module, and variables that hold ``vgg.init(spec)``.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu; ``VGGError`` for others.
    """
    check_build(dtype, device)
    module = VGG(spec, dtype)
    return load(Model(module, blank(module, device)), init(spec, dtype=dtype))


def load(model: Model, params: Mapping[str, Array]) -> Model:
    """``model`` itself, its variables new ones: copies of these canonical parameters, rounded to its dtype.

    ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    check_params(params, model.spec)
    model.variables = filled(model.spec, model.variables, params)
    return model


def dump(model: Model) -> Arrays:
    """``{canonical name: array}``, copies."""
    return canonical(model.spec, model.variables)


def _lrn(x: jax.Array) -> jax.Array:
    """Flax has no LRN. The sum over a window of channels is a product with a band matrix, 1 where two are near."""
    near = jnp.asarray(near_channels(x.shape[-1], LRN_SIZE), x.dtype)
    return x * (LRN_K + LRN_ALPHA * (x * x @ near)) ** -LRN_BETA
