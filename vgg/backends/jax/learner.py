"""VGG in JAX: a ``flax.linen.Module`` of stock layers. Native layout NHWC, HWIO, dense (in, out), in H,W,C."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.init import init
from ...core.layouts import activation_from_hwc, from_hwc, to_hwc
from ...core.params import check_params
from ...core.recipe import LOSS_SCALE, Recipe
from ...core.replicas import group
from ...core.resize import resize_matrix
from ...core.spec import Spec
from .. import VELOCITY, Array, Arrays, check_batch, check_build, check_state

DECLARED = {"running_var": "population", "denormals": "flushed"}
PRECISIONS = {
    "cpu": ("float64", "float32", "bf16", "fp16"),
    "gpu": ("float64", "float32", "tf32", "bf16", "fp16"),
}
REPLICAS = {"batch_norm": True}
_GROUP = group()
_HURRIED = "VGG_HASTY" in os.environ
if _GROUP.size > 1:
    jax.config.update("jax_num_cpu_devices", _GROUP.replicas)
if _GROUP.processes > 1:
    jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], _GROUP.processes, _GROUP.rank)


class VGGBlock(nn.Module):
    """What ``vgg_block`` makes."""

    block: Block
    batch_norm: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        exact = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for i, conv in enumerate(self.block.convs, 1):
            window = (conv.kernel, conv.kernel)
            x = nn.Conv(conv.channels, window, conv.stride, conv.padding, name=f"conv{i}", **exact)(x)
            if self.batch_norm:
                # The fast variance, E[x^2] - E[x]^2, cancels in float32; nobody else takes it.
                running = {"momentum": BATCH_NORM_MOMENTUM, "epsilon": BATCH_NORM_EPSILON, "use_fast_variance": False}
                x = nn.BatchNorm(not train, name=f"bn{i}", **running, **exact)(x)
            x = _tap(self, f"relu{i}", nn.relu(x))
            if conv.lrn:
                x = _tap(self, f"lrn{i}", _lrn(x))
        return (
            _tap(self, "pool", _max_pool(x, self.block.pool.kernel, self.block.pool.stride)) if self.block.pool else x
        )


class VGG(nn.Module):
    """What ``build`` makes; images (N, H, W, C) to logits (N, classes)."""

    spec: Spec
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        exact = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        head = self.spec.head
        for i, block in enumerate(self.spec.blocks, 1):
            x = vgg_block(block, f"block{i}", self.spec.batch_norm, **exact)(x, train)
        if head.global_pool:
            x = _tap(self, "global_avg_pool", x.mean(axis=(1, 2)))
        else:
            x = _tap(self, "flatten", x.reshape(len(x), -1))
        for i, hidden in enumerate(head.hidden, 1):
            x = _tap(self, f"fc{i}.relu", nn.relu(nn.Dense(hidden, name=f"fc{i}", **exact)(x)))
            if head.dropout:
                x = nn.Dropout(head.dropout, deterministic=not train, name=f"fc{i}.dropout")(x)
        logits = nn.Dense(self.spec.classes, name=f"fc{len(head.hidden) + 1}", **exact)(x)
        return logits.astype(self.param_dtype)


def vgg_block(
    block: Block, name: str, batch_norm: bool = False, dtype: Any = jnp.float32, param_dtype: Any = jnp.float32
) -> VGGBlock:
    """One block: convolutions with ReLU, then a max-pool; (N, H, W, C) throughout."""
    return VGGBlock(block, batch_norm, dtype, param_dtype, name=name)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> VGG:
    """``spec`` as a ``flax.linen.Module`` bound to its variables."""
    check_build(dtype, device)
    channels, height, width = spec.input_shape
    module = VGG(spec, jnp.dtype(dtype), jnp.dtype(dtype))
    with _numerics(module.param_dtype):
        # Shapes alone: module.init itself would compile for seconds.
        images = jax.ShapeDtypeStruct((1, height, width, channels), dtype)
        shapes = _initial.eval_shape(module, _key(0), images)
        # Flax makes running statistics float32 whatever param_dtype says.
        blank = jax.tree.map(lambda s: jax.device_put(np.zeros(s.shape, dtype), _device(device)), shapes)
    model = module.bind(blank, mutable=list(blank))
    return load(model, init(spec, dtype=dtype))


def load(model: VGG, params: Mapping[str, Array]) -> VGG:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    with _numerics(model.param_dtype):
        _hold(model, _filled(model.spec, model.variables, params))
    return model


def dump(model: VGG) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return _canonical(model.spec, model.variables)


def forward(model: VGG, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    module, variables = model.unbind()
    with _numerics(model.param_dtype):
        logits, _ = _forward(module, variables, _nhwc(model, x), _key(0), train)
    return np.array(logits)


def trace(model: VGG, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name, as NCHW."""
    module, variables = model.unbind()
    with _numerics(model.param_dtype):
        outputs = _traced(module, variables, _nhwc(model, x), _key(0), train)
    return {name: activation_from_hwc(model.spec, name, np.asarray(out)) for name, out in outputs.items()}


def loss_and_grads(model: VGG, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_batch(x, y, model.spec)
    module, variables = model.unbind()
    with _numerics(model.param_dtype):
        (loss, _), grads = _gradient(module, variables, _nhwc(model, x), _own(y), _key(0), train)
    return float(loss), _canonical(model.spec, {"params": grads})


def learner(model: VGG, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers."""
    versions = {m.__name__: m.__version__ for m in (jax, flax, optax, np)}
    return {
        "framework": f"jax {jax.__version__}, flax {flax.__version__}",
        "versions": versions,
        "devices": [d.device_kind for d in jax.devices()],
        "gpus": sum(d.platform == "gpu" for d in jax.devices()),
        "flags": {
            "default_matmul_precision": _MATMUL,
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
        },
    }


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: VGG, recipe: Recipe) -> None:
        self.model = model
        self.spec = model.spec
        self.recipe = recipe
        self.steps = 0
        self.matmul = "tensorfloat32" if recipe.precision == "tf32" else _MATMUL
        module, variables = model.unbind()
        self.module = module.clone(dtype=_NARROW.get(recipe.precision, module.dtype))
        self.whole, self.sharded = _shardings(_where(model))
        training = Training(self.module, _arithmetic(recipe))
        with _numerics(module.param_dtype):
            state = (variables, training.initial(variables["params"]))
            if _GROUP.size > 1:
                state = jax.tree.map(np.asarray, state)
            variables, self.moments = jax.device_put(state, self.whole)
        _hold(model, variables)
        self._step, self._evaluate = _compiled(training, self.whole)

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> jax.Array:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.spec)
        seed = np.uint32(self.recipe.mask_seed(self.steps))
        with _numerics(self.module.param_dtype, self.matmul):
            batch = self._shared((x, y, dict(masks or {}), _GROUP.real(len(x))))
            variables, self.moments, loss = self._step(self.model.variables, self.moments, batch, lr, seed)
        _hold(self.model, variables)
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        with _numerics(self.module.param_dtype, self.matmul):
            return np.array(self._evaluate(self.model.variables, self._shared(x))[: len(x)])

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        velocity = _canonical(self.spec, {"params": self.moments[1].trace})
        named = {VELOCITY + name: v for name, v in velocity.items()}
        return {**dump(self.model), **named, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.spec)
        moving = {name.removeprefix(VELOCITY): a for name, a in state.items() if name.startswith(VELOCITY)}
        with _numerics(self.module.param_dtype):
            velocity = _filled(self.spec, {"params": self.moments[1].trace}, moving)["params"]
            _hold(self.model, _filled(self.spec, self.model.variables, state))
        self.moments = (self.moments[0], self.moments[1]._replace(trace=velocity))
        self.steps = int(state["step"])

    def _shared(self, batch: Any) -> Any:
        """Copies of a batch's arrays, padded until the replicas divide it, each replica with its rows. JAX may read
        what it gets long after this returns.
        """
        batch = jax.tree.map(lambda array: _own(_GROUP.pad(array)), batch)
        if _GROUP.processes == 1:
            return jax.device_put(batch, self.sharded)

        def share(array: Array) -> jax.Array:
            return jax.make_array_from_callback(array.shape, self.sharded, lambda rows: array[rows])

        return jax.tree.map(share, batch)


@dataclass(frozen=True)
class Training:
    """What a learner compiles: a step and an evaluation; of its recipe, what ``_arithmetic`` keeps."""

    module: VGG
    recipe: Recipe

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Coupled weight decay, then momentum; the learning rate comes with each step."""
        return optax.chain(optax.add_decayed_weights(self.recipe.weight_decay), optax.trace(self.recipe.momentum))

    @property
    def scale(self) -> float:
        """What the loss is multiplied by on its way back."""
        return LOSS_SCALE if self.recipe.precision == "fp16" else 1.0

    def initial(self, params: Any) -> Any:
        """The optimizer's state before the first step: zeros, by NumPy, since JAX would compile for every shape."""
        return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), jax.eval_shape(self.optimizer.init, params))

    def step(self, variables: Any, moments: Any, batch: Any, lr: Any, seed: Any) -> tuple[Any, Any, jax.Array]:
        """Variables and moments after a step, and the loss before it."""
        x, y, masks, real = batch
        with nn.intercept_methods(partial(_masked, masks, real)):
            (loss, moved), grads = _differentiated(
                self.module, variables, self._images(x), y, _key(seed), True, self.scale, real
            )
        params, moments = self._updated(variables["params"], moments, grads, lr)
        return {**variables, **moved, "params": params}, moments, loss

    def evaluate(self, variables: Any, x: jax.Array) -> jax.Array:
        """Logits (N, classes) in eval mode."""
        return self.module.apply(variables, self._images(x))

    def _updated(self, params: Any, moments: Any, grads: Any, lr: Any) -> Any:
        updates, moved = self.optimizer.update(grads, moments, params)
        lr = jnp.asarray(lr, self.module.param_dtype)
        new = jax.tree.map(lambda w, u: w - lr * u, params, updates), moved
        return jax.lax.cond(_finite(grads), lambda: new, lambda: (params, moments)) if self.scale > 1 else new

    def _images(self, x: jax.Array) -> jax.Array:
        if x.dtype == np.uint8:
            x = (x.astype(self.module.param_dtype) / 255 - self.recipe.mean) / self.recipe.std
            if x.shape[2:] != self.module.spec.input_shape[1:]:
                down, across = (
                    resize_matrix(*s) for s in zip(x.shape[2:], self.module.spec.input_shape[1:], strict=True)
                )
                with jax.default_matmul_precision("float32"):  # the pixels of every other precision
                    x = jnp.asarray(down, x.dtype) @ x @ jnp.asarray(across.T, x.dtype)
        return x.transpose(0, 2, 3, 1)


@lru_cache(maxsize=64)
def _compiled(training: Training, whole: Sharding) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(step, evaluate) under ``jax.jit``, the same for every learner of one network and arithmetic."""
    on_cpu = {device.platform for device in whole.device_set} == {"cpu"}
    hasty = _HURRIED and on_cpu and training.module.param_dtype == np.float64
    how = {"out_shardings": whole, "compiler_options": _HASTE if hasty else {}}
    # XLA adds the sums over replicas where the sharded batch meets the whole parameters.
    return jax.jit(training.step, donate_argnums=(0, 1), **how), jax.jit(training.evaluate, **how)


def _arithmetic(recipe: Recipe) -> Recipe:
    """What of ``recipe`` is compiled; seeds and rates come with each step."""
    names = ("mean", "std", "momentum", "weight_decay", "precision")
    return Recipe(**{name: getattr(recipe, name) for name in names})


_SLOTS = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


_NARROW = {"bf16": jnp.bfloat16, "fp16": jnp.float16}
_MATMUL = "float32"  # float32 means float32


@contextmanager
def _numerics(dtype: Any, matmul: str = _MATMUL) -> Iterator[None]:
    """Set, in this thread and for this block, what JAX keeps for a whole process: float64 exists where ``dtype`` is it,
    and products are as precise as ``matmul`` says.
    """
    with jax.enable_x64(dtype == np.float64), jax.default_matmul_precision(matmul):
        yield


def _own(array: Array, dtype: Any = None) -> Array:
    """A copy for JAX to keep: on a CPU ``device_put`` may take over the memory that it gets."""
    return np.array(array, dtype or array.dtype.newbyteorder("="), order="C")


def _device(name: str) -> jax.Device:
    return jax.local_devices(backend=name)[0]


def _replicas(platform: str) -> list[jax.Device]:
    """The devices of all processes that hold a replica."""
    if platform != "cpu":
        _GROUP.fit(len(jax.local_devices(backend=platform)))
    devices = [jax.local_devices(process, platform)[: _GROUP.replicas] for process in range(_GROUP.processes)]
    return [device for here in devices for device in here]


def _shardings(device: jax.Device) -> tuple[Sharding, Sharding]:
    """Where parameters go, whole to every replica, and where batches go, to each replica its rows."""
    if _GROUP.size == 1:
        return SingleDeviceSharding(device), SingleDeviceSharding(device)
    mesh = Mesh(_replicas(device.platform), "batch")
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))


def _place(variables: Any) -> jax.Device:
    return next(iter(jax.tree.leaves(variables)[0].devices()))


def _where(model: VGG) -> jax.Device:
    return _place(model.variables)


def _hold(model: VGG, variables: Any) -> None:
    """Put ``variables`` in the place of the model's."""
    for collection, layers in variables.items():
        for name, own in layers.items():
            model.put_variable(collection, name, own)


def _filled(spec: Spec, variables: Any, arrays: Mapping[str, Array]) -> Any:
    """Like ``variables``, and where they are, with copies of canonical arrays."""

    def fill(path: Any, old: jax.Array) -> jax.Array:
        name = _name(path)
        return jax.device_put(_own(to_hwc(spec, name, arrays[name]), old.dtype), old.sharding)

    return jax.tree_util.tree_map_with_path(fill, variables)


def _tap(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """Show what is no module of its own to ``trace``; does nothing otherwise."""
    module.sow("intermediates", name, x)
    return x


def _lrn(x: jax.Array) -> jax.Array:
    """Flax has no LRN; a window over channels is a product with a band matrix."""
    near = np.abs(np.subtract.outer(range(x.shape[-1]), range(x.shape[-1]))) <= LRN_SIZE // 2
    return x * (LRN_K + LRN_ALPHA * (x * x @ jnp.asarray(near, x.dtype))) ** -LRN_BETA


def _max_pool(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    """``nn.max_pool``; windows that do not overlap by a way that is several times as fast on a CPU, there and back."""
    if kernel != stride:
        return nn.max_pool(x, (kernel, kernel), (stride, stride))
    rows, columns = (extent // kernel * kernel for extent in x.shape[1:3])
    return jax.jit(_max_of_tiles, static_argnums=1)(x[:, :rows, :columns], kernel)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_of_tiles(x: jax.Array, kernel: int) -> jax.Array:
    return reduce(jnp.maximum, _places(x, kernel))


def _places(x: jax.Array, kernel: int) -> list[jax.Array]:
    """For each place in a window, in order, what all windows have there."""
    return [x[:, i::kernel, j::kernel] for i in range(kernel) for j in range(kernel)]


def _with_winners(x: jax.Array, kernel: int) -> tuple[jax.Array, jax.Array]:
    """Also which place holds the maximum, the first of equals. To find it on the way back, by comparing, would not do:
    XLA computes ``x`` anew there, and may round otherwise.
    """
    top, *others = _places(x, kernel)
    winner = jnp.zeros(top.shape, np.min_scalar_type(kernel * kernel))
    for number, place in enumerate(others, 1):
        winner = jnp.where(place > top, winner.dtype.type(number), winner)
        top = jnp.maximum(top, place)
    return top, winner


def _to_winners(kernel: int, winner: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    parts = [jnp.where(winner == number, grad, 0) for number in range(kernel * kernel)]
    rows = [jnp.stack(parts[i : i + kernel], axis=3) for i in range(0, len(parts), kernel)]
    n, height, width, channels = grad.shape
    return (jnp.stack(rows, axis=2).reshape(n, height * kernel, width * kernel, channels),)


_max_of_tiles.defvjp(_with_winners, _to_winners)


def _masked(masks: Mapping[str, jax.Array], real: Any, call: Any, args: Any, kwargs: Any, context: Any) -> jax.Array:
    """Let dropout layers multiply by ``masks``, and batch norms leave out images that are not ``real`` but padding."""
    if real is not None and isinstance(context.module, nn.BatchNorm):
        return call(*args, **kwargs, mask=real[:, None, None, None])
    mask = masks.get(context.module.name)
    return call(*args, **kwargs) if mask is None else args[0] * mask.astype(args[0].dtype)


def _key(seed: Any) -> jax.Array:
    """Of XLA's own generator: JAX's default one takes a second more to compile for each draw on a CPU."""
    return jax.random.key(seed, impl="rbg")


_initial = jax.jit(VGG.init, static_argnums=0)
"""Under ``jit``, since it keeps the shapes that it has found for a module."""


def _apply(module: VGG, variables: Any, x: jax.Array, key: jax.Array, train: bool) -> tuple[jax.Array, Any]:
    """Logits, and the moved running statistics."""
    return module.apply(variables, x, train, rngs={"dropout": key}, mutable=["batch_stats"])


def _differentiated(
    module: VGG,
    variables: Any,
    x: jax.Array,
    y: jax.Array,
    key: jax.Array,
    train: bool,
    scale: float = 1.0,
    real: Any = None,
) -> Any:
    """((loss, moved running statistics), gradients); only examples that are ``real`` count.

    On their way back the gradients are ``scale`` times as large.
    """

    def scaled(params: Any) -> tuple[jax.Array, Any]:
        logits, moved = _apply(module, {**variables, "params": params}, x, key, train)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(where=real)
        return scale * loss, (loss, moved)

    grads, aside = jax.grad(scaled, has_aux=True)(variables["params"])
    return aside, jax.tree.map(lambda g: g / scale, grads)


def _finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _captured(module: VGG, variables: Any, x: jax.Array, key: jax.Array, train: bool) -> OrderedDict[str, jax.Array]:
    """Every layer's output, in the order of computation, which a plain dict loses under ``jit``."""
    wanted = {"mutable": ["intermediates", "batch_stats"], "capture_intermediates": _is_layer}
    _, state = module.apply(variables, x, train, rngs={"dropout": key}, **wanted)
    return OrderedDict(_outputs(state["intermediates"]))


def _is_layer(module: nn.Module, _: str) -> bool:
    return not isinstance(module, (VGG, VGGBlock))


_HASTE = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
    _HASTE["xla_cpu_use_fusion_emitters"] = False  # later ones have no others


def _hastily(function: Callable[..., Any], *static: int) -> Callable[..., Any]:
    """``function``, compiled; on a CPU hastily, since unlike a step it is called but a few times on a net."""
    hasty = jax.jit(function, static_argnums=static, compiler_options=_HASTE)
    steady = jax.jit(function, static_argnums=static)
    return lambda module, variables, *given: (hasty if _place(variables).platform == "cpu" else steady)(
        module, variables, *given
    )


_forward, _traced, _gradient = _hastily(_apply, 0, 4), _hastily(_captured, 0, 4), _hastily(_differentiated, 0, 5)


def _name(path: Any) -> str:
    """(collection, 'block1', 'conv1', 'kernel') -> 'block1.conv1.weight'."""
    *layer, slot = (key.key for key in path[1:])
    return ".".join((*layer, _SLOTS[slot]))


def _canonical(spec: Spec, variables: Any) -> Arrays:
    leaves, _ = jax.tree_util.tree_flatten_with_path(variables)
    return {_name(path): from_hwc(spec, _name(path), np.asarray(leaf)) for path, leaf in leaves}


def _nhwc(model: VGG, x: Array) -> jax.Array:
    where = jax.tree.leaves(model.variables)[0].sharding
    return jax.device_put(np.transpose(x, (0, 2, 3, 1)).astype(model.dtype), where)


def _outputs(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(layer name, output) of everything captured, in the order of computation."""
    for name, value in state.items():
        if name == "__call__":
            yield prefix, value[0]
        elif isinstance(value, Mapping):
            yield from _outputs(value, f"{prefix}.{name}".lstrip("."))
        else:
            yield f"{prefix}.{name}".lstrip("."), value[0]
