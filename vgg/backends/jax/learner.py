"""A training step in JAX: precision, masks, replicas."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from ...core.recipe import LOSS_SCALE, Recipe
from ...core.replicas import group
from .. import Array, Arrays, check_batch, check_images
from ..bookkeeping import resizing, state_of, taken_apart
from .model import VGG, dump, load
from .numbers import MATMUL, Model, canonical, differentiated, filled, hasty_options, key, numerics, with_order

_NARROW = {"bf16": "bfloat16", "fp16": "float16"}
_GROUP = group()


def setup() -> None:
    """Throw the switches of the whole process, as a worker does before anything else: as many devices as it has
    replicas, and a word with the other processes. All else is set around each call.
    """
    if _GROUP.size > 1:
        jax.config.update("jax_num_cpu_devices", _GROUP.replicas)
    if _GROUP.processes > 1:
        jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], _GROUP.processes, _GROUP.rank)


def learner(model: Model, recipe: Recipe) -> Learner:
    """Return a learner that trains ``model`` by SGD; see ``vgg.backends``."""
    return Learner(model, recipe)


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.steps = 0
        self.numerics = partial(numerics, recipe.dtype, "tensorfloat32" if recipe.precision == "tf32" else MATMUL)
        self.whole, self.sharded = _shardings(model.sharding)
        narrow = _NARROW.get(recipe.precision, model.module.dtype)
        training = Training(model.module.clone(dtype=narrow, pool=max_pool), _arithmetic(recipe))
        with numerics(recipe.dtype):
            state = (model.variables, training.initial(model.variables["params"]))
            if _GROUP.size > 1:
                state = jax.tree.map(np.asarray, state)
            # Copies: a step takes over the memory of what it gets, and a user may have unpacked the model before.
            model.variables, self.moments = jax.device_put(state, self.whole, may_alias=False)
        self._step, self._evaluate = _compiled(training, self.whole)

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> jax.Array:
        """Do a forward pass, a backward pass and an update, and return the loss before the update."""
        check_batch(x, y, self.model.spec, masks)
        seed = np.uint32(self.recipe.mask_seed(self.steps))
        with self.numerics():
            batch = self._shared((x, y, dict(masks or {}), _GROUP.real(len(x))))
            self.model.variables, self.moments, loss = self._step(self.model.variables, self.moments, batch, lr, seed)
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W) in eval mode."""
        check_images(x, self.model.spec)
        with self.numerics():
            return np.array(self._evaluate(self.model.variables, self._shared(x))[: len(x)])

    def state(self) -> Arrays:
        """Return parameters, velocities and the number of steps."""
        velocity = canonical(self.model.spec, {"params": optax.tree.get(self.moments, "trace")})
        return state_of(dump(self.model), velocity, self.steps)

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        params, velocity, self.steps = taken_apart(state, self.model.spec)
        load(self.model, params)
        moving = filled(self.model.spec, {"params": optax.tree.get(self.moments, "trace")}, velocity)
        self.moments = optax.tree.set(self.moments, trace=moving["params"])

    def _shared(self, batch: Any) -> Any:
        """Return copies of a batch's arrays, padded so that the replicas divide it, with each replica's rows on it.

        They are copies because JAX may read its arguments long after this returns.
        """
        batch = jax.tree.map(lambda array: with_order(_GROUP.pad(array)), batch)
        if _GROUP.processes == 1:
            return jax.device_put(batch, self.sharded)

        def share(array: Array) -> jax.Array:
            return jax.make_array_from_callback(array.shape, self.sharded, lambda rows: array[rows])

        return jax.tree.map(share, batch)


@dataclass(frozen=True)
class Training:
    """Holds what a learner compiles: a step and an evaluation.

    It keeps only the part of the recipe that ``_arithmetic`` returns.
    """

    module: VGG
    recipe: Recipe

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The chain of coupled weight decay, momentum and the learning rate, which comes with each step."""
        rate = optax.inject_hyperparams(optax.scale_by_learning_rate)(0.0)
        return optax.chain(optax.add_decayed_weights(self.recipe.weight_decay), optax.trace(self.recipe.momentum), rate)

    @property
    def scale(self) -> float:
        """The factor of the loss in the backward pass."""
        return LOSS_SCALE if self.recipe.precision == "fp16" else 1.0

    def initial(self, params: Any) -> Any:
        """Return the optimizer's first state: NumPy zeros, because JAX would compile for every shape."""
        return jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), jax.eval_shape(self.optimizer.init, params))

    def step(self, variables: Any, moments: Any, batch: Any, lr: Any, seed: Any) -> tuple[Any, Any, jax.Array]:
        """Return the variables and moments after a step, and the loss before it."""
        x, y, masks, real = batch
        with nn.intercept_methods(partial(_masked, masks, real)):
            (loss, moved), grads = differentiated(
                self.module, variables, self._images(x), y, key(seed), True, self.scale, real
            )
        params, moments = self._updated(variables["params"], moments, grads, lr)
        return {**variables, **moved, "params": params}, moments, loss

    def evaluate(self, variables: Any, x: jax.Array) -> jax.Array:
        """Return the logits (N, classes) in eval mode."""
        return self.module.apply(variables, self._images(x))

    def _updated(self, params: Any, moments: Any, grads: Any, lr: Any) -> Any:
        rate = jnp.asarray(lr, self.recipe.dtype)
        updates, moved = self.optimizer.update(grads, optax.tree.set(moments, learning_rate=rate), params)
        new = optax.apply_updates(params, updates), moved
        return jax.lax.cond(_finite(grads), lambda: new, lambda: (params, moments)) if self.scale > 1 else new

    def _images(self, x: jax.Array) -> jax.Array:
        """Return the images normalised, resized to the network's size, as NHWC."""
        if x.dtype == np.uint8:
            x = (x.astype(self.recipe.dtype) / 255 - self.recipe.mean) / self.recipe.std
            if matrices := resizing(x.shape[2:], self.module.spec):
                down, across = (jnp.asarray(matrix, x.dtype) for matrix in matrices)
                with jax.default_matmul_precision("float32"):  # the pixels of every other precision
                    x = down @ x @ across.T
        return x.transpose(0, 2, 3, 1)


@lru_cache(maxsize=64)
def _compiled(training: Training, whole: Sharding) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return (step, evaluate) under ``jax.jit``; learners of one network and arithmetic share them."""
    on_cpu = {device.platform for device in whole.device_set} == {"cpu"}
    # The suite asks for it: it compiles many small nets, each for a few steps.
    hasty = on_cpu and training.recipe.precision in os.environ.get("VGG_HASTY", "").split(",")
    how = {"out_shardings": whole, "compiler_options": hasty_options() if hasty else {}}
    # XLA adds the sums over replicas where the sharded batch meets the whole parameters.
    return jax.jit(training.step, donate_argnums=(0, 1), **how), jax.jit(training.evaluate, **how)


def _arithmetic(recipe: Recipe) -> Recipe:
    """Return the part of ``recipe`` that is compiled; seeds and rates come with each step."""
    names = ("mean", "std", "momentum", "weight_decay", "precision")
    return Recipe(**{name: getattr(recipe, name) for name in names})


def _shardings(sharding: Sharding) -> tuple[Sharding, Sharding]:
    """Return the shardings of parameters, whole on every replica, and of batches, split by rows."""
    if _GROUP.size == 1:
        return sharding, sharding
    mesh = Mesh(_replicas(next(iter(sharding.device_set)).platform), "batch")
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))


def _replicas(platform: str) -> list[jax.Device]:
    """Return the devices of all processes that hold a replica."""
    if platform != "cpu":
        _GROUP.fit(len(jax.local_devices(backend=platform)))
    devices = [jax.local_devices(process, platform)[: _GROUP.replicas] for process in range(_GROUP.processes)]
    return [device for here in devices for device in here]


def _masked(masks: Mapping[str, jax.Array], real: Any, call: Any, args: Any, kwargs: Any, context: Any) -> jax.Array:
    """Let dropout layers multiply by ``masks``, and batch norms leave out images that are not ``real`` but padding."""
    if real is not None and isinstance(context.module, nn.BatchNorm):
        return call(*args, **kwargs, mask=real[:, None, None, None])
    mask = masks.get(context.module.name)
    return call(*args, **kwargs) if mask is None else args[0] * mask.astype(args[0].dtype)


def _finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def max_pool(x: jax.Array, window: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    """Do what ``nn.max_pool`` does.

    Windows that do not overlap take a way that is several times as fast on a CPU, forward and backward, but has no
    ``jax.jvp``.
    """
    if window != strides:
        return nn.max_pool(x, window, strides)
    (kernel, _), (rows, columns) = window, (extent // window[0] * window[0] for extent in x.shape[1:3])
    return jax.jit(_max_of_tiles, static_argnums=1)(x[:, :rows, :columns], kernel)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_of_tiles(x: jax.Array, kernel: int) -> jax.Array:
    return reduce(jnp.maximum, _places(x, kernel))


def _places(x: jax.Array, kernel: int) -> list[jax.Array]:
    """Return, for each place in a window in order, the values that all windows have there."""
    return [x[:, i::kernel, j::kernel] for i in range(kernel) for j in range(kernel)]


def _with_winners(x: jax.Array, kernel: int) -> tuple[jax.Array, jax.Array]:
    """Return the maxima, and the place of each, the first of equals.

    Comparing in the backward pass would not do, since XLA computes ``x`` anew there and may round differently.
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
