"""VGG in Flax NNX: an ``nnx.Module`` of stock layers. Native layout NHWC, HWIO, dense (in, out), in H,W,C."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from vgg.backends import VELOCITY, Array, Arrays, check_batch, check_floats, check_images, check_state
from vgg.core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from vgg.core.init import init
from vgg.core.layouts import activation_from_hwc, from_hwc, to_hwc
from vgg.core.params import check_params
from vgg.core.recipe import Recipe
from vgg.core.resize import resize_matrix
from vgg.core.spec import Spec

Tap = Callable[[str, jax.Array], jax.Array]
"""Sees each layer's name and output, and gives the output on. ``nnx.capture`` would give them sorted by name."""
DECLARED = {"running_var": "population", "denormals": "flushed"}
# Some of YNNPACK's sums are wrong on a CPU (jax-ml/jax#39103). XLA reads this before it computes; later flags win.
_RIGHT_SUMS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution,-reduce"
os.environ["XLA_FLAGS"] = f"{_RIGHT_SUMS} {os.environ.get('XLA_FLAGS', '')}".strip()


class VGGBlock(nnx.Module):
    """Convolutions, each with its ReLU, and the max-pool that ends them: (N, H, W, C) to (N, H', W', channels)."""

    def __init__(self, block: Block, channels: int, batch_norm: bool, dtype: Any, rngs: nnx.Rngs) -> None:
        exact = {"dtype": dtype, "param_dtype": dtype, "rngs": rngs}
        # The fast variance, E[x^2] - E[x]^2, cancels in float32; nobody else takes it.
        running = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "use_fast_variance": False}
        self.block, self.convs, self.bns = block, nnx.List(), nnx.List()
        for conv in block.convs:
            window = {"kernel_size": (conv.kernel, conv.kernel), "strides": conv.stride, "padding": conv.padding}
            self.convs.append(nnx.Conv(channels, conv.channels, **window, **exact))
            if batch_norm:
                self.bns.append(nnx.BatchNorm(conv.channels, **running, **exact))
            channels = conv.channels

    def __call__(self, x: jax.Array, tap: Tap = lambda _, x: x) -> jax.Array:
        for i, conv in enumerate(self.block.convs):
            x = tap(f"conv{i + 1}", self.convs[i](x))
            if self.bns:
                x = tap(f"bn{i + 1}", self.bns[i](x))
            x = tap(f"relu{i + 1}", nnx.relu(x))
            if conv.lrn:
                x = tap(f"lrn{i + 1}", _lrn(x))
        pool = self.block.pool
        return tap("pool", _max_pool(x, pool.kernel, pool.stride)) if pool else x


class VGG(nnx.Module):
    """What ``build`` makes; images (N, H, W, C) to logits (N, classes). ``rngs`` draw the masks of dropout."""

    def __init__(self, spec: Spec, dtype: Any, rngs: nnx.Rngs) -> None:
        self.spec, self.dtype, self.blocks = spec, dtype, nnx.List()
        channels, head = spec.input_shape[0], spec.head
        for block in spec.blocks:
            self.blocks.append(vgg_block(block, channels, spec.batch_norm, dtype, rngs))
            channels = block.convs[-1].channels
        features = channels if head.global_pool else int(np.prod(spec.feature_shape))
        widths = pairwise((features, *head.hidden, spec.classes))
        self.fcs = nnx.List(nnx.Linear(*pair, dtype=dtype, param_dtype=dtype, rngs=rngs) for pair in widths)
        self.dropout = nnx.Dropout(head.dropout)

    def __call__(
        self,
        x: jax.Array,
        rngs: nnx.Rngs | None = None,
        tap: Tap = lambda _, x: x,
        masks: Mapping[str, jax.Array] = MappingProxyType({}),
    ) -> jax.Array:
        head = self.spec.head
        for i, block in enumerate(self.blocks, 1):
            x = block(x, lambda name, x, i=i: tap(f"block{i}.{name}", x))
        x = tap("global_avg_pool", x.mean(axis=(1, 2))) if head.global_pool else tap("flatten", x.reshape(len(x), -1))
        for i in range(1, len(self.fcs)):
            x = tap(f"fc{i}.relu", nnx.relu(tap(f"fc{i}", self.fcs[i - 1](x))))
            if head.dropout:
                mask = masks.get(f"fc{i}.dropout")
                x = tap(f"fc{i}.dropout", self.dropout(x, rngs=rngs) if mask is None else x * mask.astype(x.dtype))
        return tap(f"fc{len(self.fcs)}", self.fcs[-1](x))


def vgg_block(block: Block, channels: int, batch_norm: bool, dtype: Any, rngs: nnx.Rngs) -> VGGBlock:
    """One block: convolutions with ReLU on ``channels`` input channels, then a max-pool; (N, H, W, C) throughout."""
    return VGGBlock(block, channels, batch_norm, dtype, rngs)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> VGG:
    """``spec`` as an ``nnx.Module``."""
    with _numerics(jnp.dtype(dtype)):
        # To draw values would compile for seconds.
        model = nnx.eval_shape(lambda: VGG(spec, jnp.dtype(dtype), nnx.Rngs(0)))
        return _fill(model, nnx.state(model), init(spec, dtype=dtype), jax.devices(device)[0])


def load(model: VGG, params: Mapping[str, Array]) -> VGG:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    with _numerics(model.dtype):
        return _fill(model, nnx.state(model), params, _where(model))


def dump(model: VGG) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return _canonical(model.spec, nnx.state(model))


def forward(model: VGG, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, model.spec)
    with _numerics(model.dtype):
        return np.array(_copy(model, train)(_nhwc(model, x), _rngs(0)))


def trace(model: VGG, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name, as NCHW."""
    check_floats(x, model.spec)
    seen: dict[str, jax.Array] = {}
    with _numerics(model.dtype):
        _copy(model, train)(_nhwc(model, x), _rngs(0), seen.setdefault)
    return {name: activation_from_hwc(model.spec, name, np.asarray(out)) for name, out in seen.items()}


def loss_and_grads(model: VGG, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_floats(x, model.spec)
    check_batch(x, y, model.spec)
    with _numerics(model.dtype):
        loss, grads = _gradient(_copy(model, train), _nhwc(model, x), _own(y), np.uint32(0), {})
    return float(loss), _canonical(model.spec, grads)


def learner(model: VGG, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers."""
    versions = {m.__name__: m.__version__ for m in (jax, flax, optax, np)}
    flags = {"default_matmul_precision": _MATMUL}
    framework, devices = f"jax {jax.__version__}, flax.nnx {flax.__version__}", [d.device_kind for d in jax.devices()]
    gpus = sum(d.platform == "gpu" for d in jax.devices())
    return {"framework": framework, "versions": versions, "devices": devices, "gpus": gpus, "flags": flags}


class Learner:
    """A training step in the model's dtype and device; see ``vgg.backends.Learner``."""

    def __init__(self, model: VGG, recipe: Recipe) -> None:
        model.train()
        self.model, self.recipe, self.steps, self.device = model, recipe, 0, _where(model)
        sgd = optax.chain(optax.add_decayed_weights(recipe.weight_decay), optax.trace(recipe.momentum), _SCALE_BY_LR)
        with _numerics(model.dtype):
            self.optimizer = nnx.Optimizer(model, sgd, wrt=nnx.Param)
            # Its counter is bound to no device; as a step binds it, the second step would compile again.
            nnx.update(self.optimizer, jax.device_put(nnx.state(self.optimizer), self.device))
        self._step = nnx.jit(self._train, donate_argnums=(0, 1))
        self._evaluate = nnx.jit(lambda model, x: _copy(model, train=False)(self._images(x)))

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> jax.Array:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.model.spec, masks)
        seed = np.uint32(self.recipe.mask_seed(self.steps))
        with _numerics(self.model.dtype):
            batch = jax.device_put(jax.tree.map(_own, (x, y, dict(masks or {}))), self.device)
            loss = self._step(self.model, self.optimizer, batch, lr, seed)
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        check_images(x, self.model.spec)
        with _numerics(self.model.dtype):
            return np.array(self._evaluate(self.model, jax.device_put(_own(x), self.device)))

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        velocity = _canonical(self.model.spec, self.optimizer.opt_state[1].trace)
        return {**dump(self.model), **{VELOCITY + n: v for n, v in velocity.items()}, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.model.spec)
        moving = {name.removeprefix(VELOCITY): a for name, a in state.items() if name.startswith(VELOCITY)}
        with _numerics(self.model.dtype):
            _fill(self.model, self.optimizer.opt_state[1].trace, moving, self.device)
            _fill(self.model, nnx.state(self.model), state, self.device)
        self.steps = int(state["step"])

    def _train(self, model: VGG, optimizer: Any, batch: Any, lr: Any, seed: Any) -> jax.Array:
        x, y, masks = batch
        loss, grads = _gradient(model, self._images(x), y, seed, masks)
        optimizer.update(model, grads, lr=lr)
        return loss

    def _images(self, x: jax.Array) -> jax.Array:
        if x.dtype == np.uint8:
            x = (x.astype(self.model.dtype) / 255 - self.recipe.mean) / self.recipe.std
            down, across = (resize_matrix(*s) for s in zip(x.shape[2:], self.model.spec.input_shape[1:], strict=True))
            x = jnp.asarray(down, x.dtype) @ x @ jnp.asarray(across.T, x.dtype)
        return x.transpose(0, 2, 3, 1)


_SLOTS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_SCALE_BY_LR = optax.GradientTransformationExtraArgs(
    optax.init_empty_state, lambda updates, state, _, *, lr: (optax.tree.scale(-lr, updates), state)
)
"""Like ``optax.scale_by_learning_rate``, but every update brings its own."""

_MATMUL = "float32"  # float32 means float32


@contextmanager
def _numerics(dtype: Any) -> Iterator[None]:
    """Set, in this thread and for this block, what JAX keeps for a whole process: float64 exists where ``dtype`` is it,
    and float32 products are in float32.
    """
    with jax.enable_x64(dtype == np.float64), jax.default_matmul_precision(_MATMUL):
        yield


def _own(array: Array, dtype: Any = None) -> Array:
    """A copy for JAX to keep: on a CPU ``device_put`` may take over the memory that it gets."""
    return np.array(array, dtype or array.dtype.newbyteorder("="), order="C")


def _where(model: VGG) -> jax.Device:
    return next(iter(jax.tree.leaves(nnx.state(model))[0].devices()))


def _copy(model: VGG, train: bool) -> VGG:
    """A copy in that mode, to run without a trace in ``model``: ``nnx.view`` would share the running statistics."""
    copy = nnx.clone(model)
    copy.set_attributes(deterministic=not train, use_running_average=not train, raise_if_not_found=False)
    return copy


def _lrn(x: jax.Array) -> jax.Array:
    """Flax has no LRN; a window over channels is a product with a band matrix."""
    near = np.abs(np.subtract.outer(range(x.shape[-1]), range(x.shape[-1]))) <= LRN_SIZE // 2
    return x * (LRN_K + LRN_ALPHA * (x * x @ jnp.asarray(near, x.dtype))) ** -LRN_BETA


def _max_pool(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    """``nnx.max_pool``, but windows that do not overlap place by place: a faster gradient on a CPU."""
    if kernel != stride:
        return nnx.max_pool(x, (kernel, kernel), (stride, stride))
    rows, columns = (extent // kernel * kernel for extent in x.shape[1:3])
    places = [x[:, i:rows:kernel, j:columns:kernel] for i in range(kernel) for j in range(kernel)]
    return reduce(_larger, places)


def _larger(one: jax.Array, other: jax.Array) -> jax.Array:
    """The first of equals; NaN where either is. The gradient has one way to go, whatever XLA makes of it. Not so with
    ``max``, whose gradient goes to what equals the maximum: XLA computes ``x`` anew, rounds otherwise, and it is lost.
    """
    return jnp.where((other > one) | jnp.isnan(other), other, one)


def _rngs(seed: Any) -> nnx.Rngs:
    """Of XLA's own generator: JAX's default one takes a second more to compile for each draw on a CPU."""
    return nnx.Rngs(dropout=jax.random.key(seed, impl="rbg"))


@nnx.jit
@nnx.value_and_grad
def _gradient(model: VGG, x: jax.Array, y: jax.Array, seed: Any, masks: Mapping[str, jax.Array]) -> jax.Array:
    """(loss, gradients); running statistics move in ``model``."""
    return optax.softmax_cross_entropy_with_integer_labels(model(x, _rngs(seed), masks=masks), y).mean()


def _name(path: Any) -> str:
    """('blocks', 0, 'convs', 0, 'kernel') -> 'block1.conv1.weight'."""
    *layers, slot = path
    numbered = (f"{many[:-1]}{i + 1}" for many, i in zip(layers[::2], layers[1::2], strict=True))
    return ".".join((*numbered, _SLOTS[slot]))


def _canonical(spec: Spec, state: nnx.State) -> Arrays:
    return {(name := _name(path)): from_hwc(spec, name, np.asarray(v[...])) for path, v in nnx.to_flat_state(state)}


def _fill(model: VGG, state: nnx.State, params: Mapping[str, Array], device: jax.Device) -> VGG:
    """Canonical parameters into the variables of ``state``, in the model's dtype: NNX makes statistics float32."""
    for path, variable in nnx.to_flat_state(state):
        array = to_hwc(model.spec, _name(path), params[_name(path)])
        variable.set_value(jax.device_put(_own(array, model.dtype), device))
    return model


def _nhwc(model: VGG, x: Array) -> jax.Array:
    return jax.device_put(np.transpose(x, (0, 2, 3, 1)).astype(model.dtype), _where(model))
