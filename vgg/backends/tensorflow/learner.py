"""A training step in TensorFlow: precision, masks, replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import keras
import tensorflow as tf

from ...core.layouts import to_hwc
from ...core.recipe import LOSS_SCALE, Recipe
from ...core.replicas import group
from .. import Array, Arrays, check_batch, check_images
from ..bookkeeping import resizing, state_of, taken_apart
from .model import build, dump, load
from .numbers import MODAL, canonical, dtype, layers, losses, place, seed, spec_of, tf32, trained

_GROUP = group()
_POLICIES = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16"}


def setup() -> None:
    """Throw the switches of the whole process, as a worker does before anything else.

    float32 means float32. Several replicas on a CPU are logical devices; several processes take the first GPUs, and
    what makes them meet must be there before anything else runs.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if not tf.config.list_physical_devices("GPU"):
        # With several, AddN sums in the order in which its inputs' memory comes free: gradients differ from run to run.
        with suppress(RuntimeError):  # somebody else has started TensorFlow in this process: the setting is theirs
            tf.config.threading.set_inter_op_parallelism_threads(1)
    if _GROUP.replicas > 1:
        cpus = [tf.config.LogicalDeviceConfiguration()] * _GROUP.replicas
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
    if _GROUP.processes > 1:  # it takes every GPU that it sees
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[: _GROUP.replicas], "GPU")
        _across()


def learner(model: keras.Sequential, recipe: Recipe) -> Learner:
    """Return a learner that trains ``model`` by SGD; see ``vgg.backends``."""
    return Learner(model, recipe)


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: keras.Sequential, recipe: Recipe) -> None:
        self.strategy = _strategy(place(model))
        with self.strategy.scope():
            self.model = model = _mirrored(model)
        self.spec, self.place, self.dtype = spec_of(model), place(model), dtype(model)
        self.recipe = recipe
        self.steps = 0
        self.scale = LOSS_SCALE if recipe.precision == "fp16" else 1.0
        with self.strategy.scope(), tf.device(self.place):
            self.velocity = [tf.Variable(tf.zeros_like(v)) for v in model.trainable_variables]
        self._step = tf.function(self._train)
        self._evaluate = tf.function(self._logits)

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> tf.Tensor:
        """Do a forward pass, a backward pass and an update, and return the loss before the update."""
        check_batch(x, y, self.spec, masks)
        seed(self.model, [self.recipe.mask_seed(number) for number in _GROUP.numbers(self.steps)])
        with tf.device(self.place), tf32(self.recipe.precision == "tf32"):
            shards = [
                (tf.constant(images), tf.constant(labels), {n: tf.constant(m, self.dtype) for n, m in own.items()})
                for images, labels, own in _GROUP.split(x, y, masks)
            ]
            loss = self._step(self._placed(shards), tf.constant(lr, self.dtype), tf.constant(len(x), self.dtype))
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W) in eval mode."""
        check_images(x, self.spec)
        with tf.device(self.place), tf32(self.recipe.precision == "tf32"):
            return self._evaluate(tf.constant(x)).numpy()

    def state(self) -> Arrays:
        """Return parameters, velocities and the number of steps."""
        return state_of(dump(self.model), canonical(self.model, self.velocity), self.steps)

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        params, velocity, self.steps = taken_apart(state, self.spec)
        load(self.model, params)
        for name, v in zip(trained(self.model), self.velocity, strict=True):
            v.assign(to_hwc(self.spec, name, velocity[name]))

    def _placed(self, shards: list[Any]) -> Any:
        """Give each replica of this process one shard."""
        if len(shards) == 1:
            return shards[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: shards[context.replica_id_in_sync_group % len(shards)]
        )

    def _train(self, batch: Any, lr: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        with _narrowed(self.model, self.recipe.precision):
            parts = self.strategy.run(self._replica, (*batch, lr, count))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

    def _logits(self, x: tf.Tensor) -> tf.Tensor:
        with _narrowed(self.model, self.recipe.precision):
            return self._wide(self.model(self._images(x), training=False))

    def _replica(
        self, x: tf.Tensor, y: tf.Tensor, masks: Mapping[str, tf.Tensor], lr: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        """One replica's part of the mean loss over ``count`` examples; it trains on the sum of all parts' gradients."""
        with tf.GradientTape() as tape:
            logits = self._wide(_masked(self.model, self._images(x), masks))
            loss = tf.reduce_sum(losses(logits, y)) / count
            scaled = loss * self.scale
        grads = tape.gradient(scaled, self.model.trainable_variables)
        if _GROUP.size > 1:
            grads = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, grads)
        if self.recipe.precision != "fp16" or _finite(grads):
            self._update([g / self.scale for g in grads], lr)
        return loss

    def _update(self, grads: list[tf.Tensor], lr: tf.Tensor) -> None:
        for w, v, g in zip(self.model.trainable_variables, self.velocity, grads, strict=True):
            # Keras' own SGD keeps the step, not the gradient, in its momentum buffer, and decouples weight decay.
            decayed = g + self.recipe.weight_decay * w
            momentum = tf.constant(self.recipe.momentum, lr.dtype)
            handles = {"var": w.value.handle, "accum": v.handle}
            tf.raw_ops.ResourceApplyMomentum(**handles, lr=lr, grad=decayed, momentum=momentum)

    def _wide(self, logits: tf.Tensor) -> tf.Tensor:
        """Convert logits to the parameters' dtype, for the loss."""
        return tf.cast(logits, self.dtype)

    def _images(self, x: tf.Tensor) -> tf.Tensor:
        if x.dtype == tf.uint8:
            x = (tf.cast(x, self.dtype) / 255 - self.recipe.mean) / self.recipe.std
            if matrices := resizing(x.shape[2:], self.spec):
                x = self._resized(x, *matrices)
        return tf.transpose(x, (0, 2, 3, 1))

    def _resized(self, x: tf.Tensor, down: Array, across: Array) -> tf.Tensor:
        wide = tf.float64 if self.recipe.precision == "tf32" else x.dtype  # pixels are resized in float32
        # Images @ matrix is a batch of products, and oneDNN crashes on large ones where there is AVX-512.
        rows = tf.tensordot(tf.cast(x, wide), tf.constant(across.T, wide), 1)
        return tf.cast(tf.constant(down, wide) @ rows, x.dtype)


@contextmanager
def _narrowed(model: keras.Sequential, precision: str) -> Iterator[None]:
    """Let layers compute in that precision while they are called, which in a compiled step is while it is traced."""
    policies = [layer.dtype_policy for _, layer in layers(model)]
    for _, layer in layers(model) if precision in _POLICIES else ():
        layer.dtype_policy = keras.DTypePolicy(_POLICIES[precision])
    try:
        yield
    finally:
        for (_, layer), policy in zip(layers(model), policies, strict=True):
            layer.dtype_policy = policy


def _masked(model: keras.Sequential, x: tf.Tensor, masks: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return the logits in train mode; dropout layers multiply by ``masks``."""
    for name, layer in layers(model) if masks else ():
        mask = masks.get(name)
        if mask is not None:
            x *= tf.cast(mask, x.dtype)
        else:
            x = layer(x, training=True) if isinstance(layer, MODAL) else layer(x)
    return x if masks else model(x, training=True)


def _finite(tensors: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in tensors])


@lru_cache
def _across() -> tf.distribute.Strategy:
    """Return the strategy over all processes, which is made once."""
    return tf.distribute.MultiWorkerMirroredStrategy()


def _strategy(where: str) -> tf.distribute.Strategy:
    """Return the strategy for this group; for one replica it is TensorFlow's default, which does nothing."""
    if _GROUP.size == 1:
        return tf.distribute.get_strategy()
    if _GROUP.processes > 1:
        many = _across().num_replicas_in_sync // _GROUP.processes
        _GROUP.fit(many, "what TensorFlow uses of one process of several")
        return _across()
    kind = where.strip("/").split(":")[0]
    _GROUP.fit(len(tf.config.list_logical_devices(kind)))
    # Its own choice, collective operations, meets in another order on each device where batch norms reduce too.
    reduction = tf.distribute.NcclAllReduce() if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(_GROUP.replicas)], reduction)


def _mirrored(model: keras.Sequential) -> keras.Sequential:
    """Return ``model``, or with several replicas a copy whose variables belong to the strategy in scope."""
    if _GROUP.size == 1:
        return model
    device = "gpu" if "GPU" in place(model) else "cpu"
    copy = build(spec_of(model), dtype=dtype(model), device=device)
    for _, layer in layers(copy):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return load(copy, dump(model))
