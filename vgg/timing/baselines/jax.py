"""JAX as Flax' examples use it; and the same with donated buffers and batches on the device: Flax has no zoo."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from ...core.layouts import to_hwc
from ...core.spec import Spec
from ..contender import COPIED, Array, Arrays, Task, columns, noise

PRECISIONS = {"tf32": "tensorfloat32"}
NARROW = {"bf16": jnp.bfloat16, "fp16": jnp.float16}


class Network(nn.Module):
    """The network of stock layers and ``nn.max_pool``, as in the textbook's chapter."""

    spec: Spec
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for block in self.spec.blocks:
            for conv in block.convs:
                window = (conv.kernel, conv.kernel)
                x = nn.relu(nn.Conv(conv.channels, window, conv.stride, conv.padding, dtype=self.dtype)(x))
            if block.pool:
                x = nn.max_pool(x, (block.pool.kernel,) * 2, (block.pool.stride,) * 2)
        x = x.mean(axis=(1, 2)) if self.spec.head.global_pool else x.reshape((x.shape[0], -1))
        for hidden in self.spec.head.hidden:
            x = nn.relu(nn.Dense(hidden, dtype=self.dtype)(x))
            x = nn.Dropout(self.spec.head.dropout, deterministic=not train)(x)
        return nn.Dense(self.spec.classes, dtype=self.dtype)(x).astype(jnp.float32)


class Textbook:
    """A contender with ``TrainState``, one jitted step, and batches from NumPy resized by ``jax.image``."""

    donated: tuple[int, ...] = ()

    def __init__(self, task: Task) -> None:
        self.task, self.keys = task, map(jax.random.key, itertools.count())
        jax.config.update("jax_default_matmul_precision", PRECISIONS.get(task.recipe.precision, "float32"))
        self.model = Network(task.spec, NARROW.get(task.recipe.precision, jnp.float32))
        sgd = optax.sgd(task.recipe.lr, task.recipe.momentum)
        with jax.default_device(_place(task)):
            self.state = TrainState.create(apply_fn=self.model.apply, params=_loaded(task), tx=sgd)
        self.step = jax.jit(_train, donate_argnums=self.donated)
        self.apply = jax.jit(lambda params, x: self.model.apply({"params": params}, x))
        self.batches = self._batches()

    def train(self, count: int) -> None:
        for (x, y), key in zip(itertools.islice(self.batches, count), self.keys, strict=False):
            self.state, loss = self.step(self.state, x, y, key)
        float(loss)

    def infer(self, count: int) -> None:
        for x, _ in itertools.islice(self.batches, count):
            np.asarray(self.apply(self.state.params, x))

    def answers(self) -> Arrays:
        x = self.task.first()
        native = jax.device_put(x.transpose(0, 2, 3, 1), _place(self.task))
        return {"logits": np.asarray(self.apply(self.state.params, native))}

    def _batches(self) -> Any:
        order, size = np.random.default_rng(0), self.task.recipe.batch_size
        while True:
            for chosen in order.permutation(len(self.task.labels)).reshape(-1, size):
                x = self.task.images[chosen].transpose(0, 2, 3, 1).astype(np.float32) / 255
                shape = (size, *self.task.spec.input_shape[1:], x.shape[-1])
                yield (
                    jax.image.resize(jax.device_put(x, _place(self.task)), shape, "bilinear"),
                    self.task.labels[chosen],
                )


class Zoo(Textbook):
    """The same network with donated buffers, on prepared batches."""

    donated = (0,)

    def __init__(self, task: Task) -> None:
        columns(task.spec)
        super().__init__(task)

    def _batches(self) -> Any:
        place = partial(jax.device_put, device=_place(self.task))
        return itertools.cycle([(place(x.transpose(0, 2, 3, 1)), place(y)) for x, y in self.task.ready()])


def textbook(task: Task) -> Textbook:
    """Return the contender that works as tutorials show."""
    return Textbook(task)


def zoo(task: Task) -> Zoo:
    """Return the contender that comes nearest to a zoo's model in its fastest configuration."""
    return Zoo(task)


def ceilings(size: int, task: Task) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return functions that begin a product of two matrices, and a copy of ``COPIED`` float32, without waiting."""
    narrow = NARROW.get(task.recipe.precision, jnp.float32)
    matrix = jax.device_put(noise(size), _place(task)).astype(narrow)
    source = jnp.ones(COPIED, jnp.float32, device=_place(task))
    multiply = jax.jit(partial(jnp.matmul, precision=PRECISIONS.get(task.recipe.precision, "float32")))
    return lambda: multiply(matrix, matrix), lambda: jnp.copy(source)


def wait() -> None:
    """Wait for every array that exists."""
    jax.block_until_ready(jax.live_arrays())


def gpu_peak_bytes() -> int:
    """Return the peak of a GPU's memory in arrays, as the framework counts it; 0 without a GPU."""
    return max((device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in jax.local_devices())


def _train(state: TrainState, x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[TrainState, jax.Array]:
    def loss_of(params: Any) -> jax.Array:
        logits = state.apply_fn({"params": params}, x, True, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    loss, grads = jax.value_and_grad(loss_of)(state.params)
    return state.apply_gradients(grads=grads), loss


def _loaded(task: Task) -> Any:
    """Return the canonical weights by Flax' names, which number the layers of each kind."""
    params: dict[str, dict[str, Array]] = {}
    counts = {"Conv": itertools.count(), "Dense": itertools.count()}
    for name, array in task.params().items():
        kind = "Dense" if name.startswith("fc") else "Conv"
        native = to_hwc(task.spec, name, array)
        if name.endswith(".weight"):
            layer = params[f"{kind}_{next(counts[kind])}"] = {"kernel": native}
        else:
            layer["bias"] = native
    return jax.device_put(params, _place(task))


def _place(task: Task) -> jax.Device:
    return jax.devices(task.device)[0]
