"""VGG in JAX, as a ``flax.linen.Module`` of stock layers; the variables for ``module.apply`` are apart from it.

Images are NHWC, weights of convolutions HWIO, those of dense layers (in, out), and maps are flattened in the order
H,W,C. ``load`` and ``dump`` move axes, and permute the inputs of ``fc1``.
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
from .numbers import Model, blank, canonical, exact, filled, gpus, shown


def _lrn(x: jax.Array) -> jax.Array:
    """Normalise over near channels, which no layer of Flax does."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))  # 256 squared is too large for float16
    squares = jax.lax.reduce_window(wide * wide, 0.0, jax.lax.add, (1, 1, 1, LRN_SIZE), (1, 1, 1, 1), "SAME")
    # torch divides alpha by the size of the window; Krizhevsky does not.
    return (wide * (LRN_K + LRN_ALPHA * squares) ** -LRN_BETA).astype(x.dtype)


class VGGBlock(nn.Module):
    """The module that ``vgg_block`` returns. It computes in ``dtype``."""

    block: Block
    batch_norm: bool
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, pool: Any = nn.max_pool) -> jax.Array:
        for i, conv in enumerate(self.block.convs, 1):
            window, types = (conv.kernel, conv.kernel), exact(self.dtype)
            x = nn.Conv(conv.channels, window, conv.stride, conv.padding, name=f"conv{i}", **types)(x)
            if self.batch_norm:
                # Momentum is the share of the old statistic. Flax's fast variance, E[x^2] - E[x]^2, cancels in float32.
                running = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "use_fast_variance": False}
                x = nn.BatchNorm(use_running_average=not train, name=f"bn{i}", **running, **types)(x)
            x = shown(self, f"relu{i}", nn.relu(x))
            if conv.lrn:
                x = shown(self, f"lrn{i}", _lrn(x))
        if size := self.block.pool:
            x = shown(self, "pool", pool(x, (size.kernel,) * 2, (size.stride,) * 2))
        return x


class VGG(nn.Module):
    """Maps images (N, H, W, C) to logits (N, classes). ``pool`` takes the arguments of ``nn.max_pool``."""

    spec: Spec
    dtype: str = "float32"
    pool: Any = nn.max_pool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        head, types = self.spec.head, exact(self.dtype)
        for i, block in enumerate(self.spec.blocks, 1):
            x = vgg_block(block, x.shape[-1], self.spec.batch_norm, self.dtype, f"block{i}")(x, train, self.pool)
        if head.global_pool:
            x = shown(self, "global_avg_pool", x.mean(axis=(1, 2)))
        else:
            x = shown(self, "flatten", x.reshape((x.shape[0], -1)))  # in H,W,C order
        for i, hidden in enumerate(head.hidden, 1):
            x = shown(self, f"fc{i}.relu", nn.relu(nn.Dense(hidden, name=f"fc{i}", **types)(x)))
            if head.dropout:
                x = nn.Dropout(head.dropout, deterministic=not train, name=f"fc{i}.dropout")(x)
        logits = nn.Dense(self.spec.classes, name=f"fc{len(head.hidden) + 1}", **types)(x)
        return logits.astype(types["param_dtype"])  # as wide as the parameters, for the loss


def vgg_block(
    block: Block, channels: int, batch_norm: bool = False, dtype: str = "float32", name: str = "block"
) -> VGGBlock:
    """Return one block for (N, H, W, ``channels``): convolutions, each with ReLU, then a max-pool."""
    del channels  # Flax infers them
    return VGGBlock(block, batch_norm, dtype, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Model:
    """Return ``(module, variables)``: ``spec`` as a Flax module, and variables with the parameters ``vgg.init(spec)``.

    ``dtype`` is float32 or float64, ``device`` cpu or gpu. Raises ``VGGError`` for others.
    """
    check_build(dtype, device, gpus)
    module = VGG(spec, dtype)
    return load(Model(module, blank(module, device)), init(spec, dtype=dtype))


def load(model: Model, params: Mapping[str, Array]) -> Model:
    """Give ``model`` new variables, copies of these canonical parameters rounded to its dtype, and return ``model``.

    Raises ``VGGError`` unless they have exactly the names and shapes of its spec.
    """
    check_params(params, model.spec)
    model.variables = filled(model.spec, model.variables, params)
    return model


def dump(model: Model) -> Arrays:
    """Return copies of the parameters, ``{canonical name: array}``."""
    return canonical(model.spec, model.variables)
