"""VGG in TensorFlow: ``keras.Sequential`` of stock layers. Native layout NHWC, HWIO, dense (in, out), in H,W,C."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it once, at import

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ..core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ..core.layouts import activation_from_hwc, from_hwc, to_hwc
from ..core.params import check_params
from ..core.recipe import LOSS_SCALE, Recipe
from ..core.replicas import group
from ..core.resize import resize_matrix
from ..core.spec import Spec
from . import VELOCITY, Array, Arrays, check_batch, check_build, check_state

DECLARED = {"running_var": "population", "denormals": "flushed", "nan": "swallowed"}
PRECISIONS = {
    "cpu": ("float64", "float32", "bf16", "fp16"),
    "gpu": ("float64", "float32", "tf32", "bf16", "fp16"),
}
REPLICAS = {"batch_norm": True}
_GROUP = group()
tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 means float32
if not tf.config.list_physical_devices("GPU"):
    # With several, AddN sums in the order in which its inputs' memory comes free: gradients differ from run to run.
    with suppress(RuntimeError):  # somebody else has started TensorFlow in this process: the setting is theirs
        tf.config.threading.set_inter_op_parallelism_threads(1)
if _GROUP.replicas > 1:
    cpus = [tf.config.LogicalDeviceConfiguration()] * _GROUP.replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)
_ACROSS = None
if _GROUP.processes > 1:  # it takes every GPU that it sees, and wants to be made before anything else runs
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[: _GROUP.replicas], "GPU")
    _ACROSS = tf.distribute.MultiWorkerMirroredStrategy()


@contextmanager
def _drawing_nothing() -> Iterator[None]:
    """Leave Python's random generator as it is: Keras draws a seed from it for every layer's initial values."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def vgg_block(block: Block, name: str, batch_norm: bool = False) -> keras.Sequential:
    """One block: convolutions with ReLU, then a max-pool; (N, H, W, C) throughout."""
    stack: list[layers.Layer] = []
    for i, conv in enumerate(block.convs, 1):
        same = conv.stride == 1 and conv.kernel == 2 * conv.padding + 1
        if conv.padding and not same:
            stack.append(layers.ZeroPadding2D(conv.padding, name=f"pad{i}"))
        padding = "same" if same else "valid"
        stack.append(layers.Conv2D(conv.channels, conv.kernel, conv.stride, padding, name=f"conv{i}"))
        if batch_norm:
            momentum, epsilon = BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON
            together = {"synchronized": _GROUP.size > 1}
            stack.append(layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=f"bn{i}", **together))
        stack.append(layers.ReLU(name=f"relu{i}"))
        if conv.lrn:
            stack.append(layers.Lambda(_lrn, name=f"lrn{i}"))
    if block.pool:
        stack.append(layers.MaxPooling2D(block.pool.kernel, block.pool.stride, name="pool"))
    return keras.Sequential(stack, name=name)


@_drawing_nothing()
def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> keras.Sequential:
    """``spec`` as ``keras.Sequential``; its layers carry the layer table's names."""
    check_build(dtype, device)
    with tf.device(_device(device)), _default(dtype):
        channels, height, width = spec.input_shape
        stack: list[Any] = [layers.Input((height, width, channels), dtype=dtype)]
        stack += [vgg_block(block, f"block{i}", spec.batch_norm) for i, block in enumerate(spec.blocks, 1)]
        stack.append(
            layers.GlobalAveragePooling2D(name="global_avg_pool")
            if spec.head.global_pool
            else layers.Flatten(name="flatten")
        )
        for i, hidden in enumerate(spec.head.hidden, 1):
            stack += [layers.Dense(hidden, name=f"fc{i}"), layers.ReLU(name=f"fc{i}.relu")]
            if spec.head.dropout:
                stack.append(layers.Dropout(spec.head.dropout, seed=i, name=f"fc{i}.dropout"))
        stack.append(layers.Dense(spec.classes, name=f"fc{len(spec.head.hidden) + 1}"))
        model = keras.Sequential(stack)
    model.spec, model.place = spec, _device(device)
    return model


def load(model: keras.Sequential, params: Mapping[str, Array]) -> keras.Sequential:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    for name, variable in _variables(model).items():
        variable.assign(to_hwc(model.spec, name, params[name]))
    return model


def dump(model: keras.Sequential) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return {name: from_hwc(model.spec, name, v.numpy()) for name, v in _variables(model).items()}


def forward(model: keras.Sequential, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    with _pure(model):
        return model(_nhwc(model, x), training=train).numpy()


def trace(model: keras.Sequential, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name, as NCHW."""
    activations: Arrays = {}
    with _pure(model):
        out = _nhwc(model, x)
        for name, layer in _layers(model):
            out = layer(out, training=train) if isinstance(layer, _MODAL) else layer(out)
            if not isinstance(layer, layers.ZeroPadding2D):
                activations[name] = activation_from_hwc(model.spec, name, out.numpy())
    return activations


def loss_and_grads(model: keras.Sequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_batch(x, y, model.spec)
    with _pure(model), tf.GradientTape() as tape:
        loss = tf.reduce_mean(_losses(model(_nhwc(model, x), training=train), y))
        grads = tape.gradient(loss, model.trainable_variables)
    return float(loss), _canonical(model, grads)


def learner(model: keras.Sequential, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers."""
    return {
        "framework": f"tensorflow {tf.__version__}",
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(gpu.name for gpu in tf.config.list_physical_devices("GPU"))],
        "gpus": len(tf.config.list_physical_devices("GPU")),
        "flags": {
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads() or "default",
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        },
    }


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: keras.Sequential, recipe: Recipe) -> None:
        self.strategy = _strategy(model.place)
        with self.strategy.scope():
            self.model = model = _mirrored(model)
        self.recipe = recipe
        self.steps = 0
        self.scale = LOSS_SCALE if recipe.precision == "fp16" else 1.0
        with self.strategy.scope(), tf.device(model.place):
            self.velocity = [tf.Variable(tf.zeros_like(v)) for v in model.trainable_variables]
        self._step = tf.function(self._train)
        self._evaluate = tf.function(self._logits)

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> tf.Tensor:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.model.spec)
        _seed(self.model, [self.recipe.mask_seed(number) for number in _GROUP.numbers(self.steps)])
        _allow_tf32(self.recipe.precision == "tf32")
        with tf.device(self.model.place):
            dtype = self.model.compute_dtype
            shards = [
                (tf.constant(images), tf.constant(labels), {name: tf.constant(m, dtype) for name, m in own.items()})
                for images, labels, own in _GROUP.split(x, y, masks)
            ]
            loss = self._step(self._placed(shards), tf.constant(lr, dtype), tf.constant(len(x), dtype))
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        _allow_tf32(self.recipe.precision == "tf32")
        with tf.device(self.model.place):
            return self._evaluate(tf.constant(x)).numpy()

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        velocity = {VELOCITY + name: v for name, v in _canonical(self.model, self.velocity).items()}
        return {**dump(self.model), **velocity, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.model.spec)
        load(self.model, {name: state[name] for name in _variables(self.model)})
        for name, v in zip(_trained(self.model), self.velocity, strict=True):
            v.assign(to_hwc(self.model.spec, name, state[VELOCITY + name]))
        self.steps = int(state["step"])

    def _placed(self, shards: list[Any]) -> Any:
        """One shard on each replica of this process."""
        if len(shards) == 1:
            return shards[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: shards[context.replica_id_in_sync_group % len(shards)]
        )

    def _train(self, batch: Any, lr: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        with _narrowed(self.model, self.recipe.precision):
            losses = self.strategy.run(self._replica, (*batch, lr, count))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _logits(self, x: tf.Tensor) -> tf.Tensor:
        with _narrowed(self.model, self.recipe.precision):
            return _wide(self.model, self.model(self._images(x), training=False))

    def _replica(
        self, x: tf.Tensor, y: tf.Tensor, masks: Mapping[str, tf.Tensor], lr: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        """One replica's part of the mean loss over ``count`` examples; it trains on the sum of all parts' gradients."""
        with tf.GradientTape() as tape:
            losses = _losses(_wide(self.model, _masked(self.model, self._images(x), masks)), y)
            loss = tf.reduce_sum(losses) / count
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

    def _images(self, x: tf.Tensor) -> tf.Tensor:
        dtype = self.model.compute_dtype
        if x.dtype == tf.uint8:
            x = (tf.cast(x, dtype) / 255 - self.recipe.mean) / self.recipe.std
            x = self._resized(x)
        return tf.transpose(x, (0, 2, 3, 1))

    def _resized(self, x: tf.Tensor) -> tf.Tensor:
        sides, dtype = self.model.spec.input_shape[1:], x.dtype
        if x.shape[2:] == sides:
            return x
        down, across = (resize_matrix(*pair) for pair in zip(x.shape[2:], sides, strict=True))
        wide = tf.float64 if self.recipe.precision == "tf32" else dtype  # pixels are resized in float32
        # Images @ matrix is a batch of products, and oneDNN crashes on large ones where there is AVX-512.
        rows = tf.tensordot(tf.cast(x, wide), tf.constant(across.T, wide), 1)
        return tf.cast(tf.constant(down, wide) @ rows, dtype)


_MODAL = (layers.BatchNormalization, layers.Dropout)
_SLOTS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"} | {
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


_POLICIES = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16"}


def _allow_tf32(allowed: bool) -> None:
    """A switch of the whole process: whatever computes sets it."""
    tf.config.experimental.enable_tensor_float_32_execution(allowed)


@contextmanager
def _narrowed(model: keras.Sequential, precision: str) -> Iterator[None]:
    """Let layers compute in that precision while they are called, which in a compiled step is while it is traced."""
    policies = [layer.dtype_policy for _, layer in _layers(model)]
    for _, layer in _layers(model) if precision in _POLICIES else ():
        layer.dtype_policy = keras.DTypePolicy(_POLICIES[precision])
    try:
        yield
    finally:
        for (_, layer), policy in zip(_layers(model), policies, strict=True):
            layer.dtype_policy = policy


@contextmanager
def _default(dtype: str) -> Iterator[None]:
    """Let Keras make layers of that dtype: its default is the whole process'."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _wide(model: keras.Sequential, logits: tf.Tensor) -> tf.Tensor:
    """As wide as the parameters, for the loss."""
    return tf.cast(logits, model.variable_dtype)


def _finite(tensors: list[tf.Tensor]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t)) for t in tensors])


def _device(name: str) -> str:
    return "/GPU:0" if name == "gpu" else "/CPU:0"


def _strategy(place: str) -> tf.distribute.Strategy:
    """TensorFlow's default one, which does nothing, for one replica."""
    if _GROUP.size == 1:
        return tf.distribute.get_strategy()
    if _ACROSS:
        _GROUP.fit(_ACROSS.num_replicas_in_sync // _GROUP.processes, "what TensorFlow uses of one process of several")
        return _ACROSS
    kind = place.strip("/").split(":")[0]
    _GROUP.fit(len(tf.config.list_logical_devices(kind)))
    # Its own choice, collective operations, meets in another order on each device where batch norms reduce too.
    reduction = tf.distribute.NcclAllReduce() if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(_GROUP.replicas)], reduction)


def _mirrored(model: keras.Sequential) -> keras.Sequential:
    """``model`` with variables of the strategy in whose scope this is called."""
    if _GROUP.size == 1:
        return model
    place = "gpu" if "GPU" in model.place else "cpu"
    return load(build(model.spec, dtype=model.variable_dtype, device=place), dump(model))


def _lrn(x: Any) -> Any:
    """tf.nn.local_response_normalization has no float64; a window over channels is a product with a band matrix."""
    near = np.abs(np.subtract.outer(range(x.shape[-1]), range(x.shape[-1]))) <= LRN_SIZE // 2
    return x * (LRN_K + LRN_ALPHA * (x * x @ tf.constant(near, x.dtype))) ** -LRN_BETA


def _masked(model: keras.Sequential, x: tf.Tensor, masks: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Logits in train mode; dropout layers multiply by ``masks``."""
    for name, layer in _layers(model) if masks else ():
        mask = masks.get(name)
        if mask is not None:
            x *= tf.cast(mask, x.dtype)
        else:
            x = layer(x, training=True) if isinstance(layer, _MODAL) else layer(x)
    return x if masks else model(x, training=True)


def _losses(logits: tf.Tensor, y: Any) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


def _layers(model: keras.Sequential) -> Iterator[tuple[str, layers.Layer]]:
    for child in model.layers:
        if isinstance(child, keras.Sequential):
            yield from ((f"{child.name}.{layer.name}", layer) for layer in child.layers)
        else:
            yield child.name, child


def _variables(model: keras.Sequential) -> dict[str, keras.Variable]:
    """Canonical name -> variable, running statistics included."""
    owned = ((name, v) for name, layer in _layers(model) for v in layer.weights if v.name in _SLOTS)
    return {f"{name}.{_SLOTS[v.name]}": v for name, v in owned}


def _trained(model: keras.Sequential) -> list[str]:
    return [name for name, v in _variables(model).items() if v.trainable]


def _canonical(model: keras.Sequential, tensors: Any) -> Arrays:
    """Canonical arrays of tensors that stand beside ``model.trainable_variables``."""
    return {n: from_hwc(model.spec, n, t.numpy()) for n, t in zip(_trained(model), tensors, strict=True)}


def _nhwc(model: keras.Sequential, x: Array) -> tf.Tensor:
    with tf.device(model.place):
        return tf.constant(np.transpose(x, (0, 2, 3, 1)), model.compute_dtype)


def _seed(model: keras.Sequential, seeds: list[int]) -> None:
    """Of the dropout masks, one seed for each replica of this process."""
    for i, layer in enumerate(layer for _, layer in _layers(model) if isinstance(layer, layers.Dropout)):
        state = layer.seed_generator.state.value
        for seed, own in zip(seeds, getattr(state, "values", [state]), strict=False):
            own.assign([seed, i << 32])


@contextmanager
def _pure(model: keras.Sequential) -> Iterator[None]:
    """Seed the dropout masks afresh, and put running statistics back afterwards."""
    kept = [v.numpy() for v in model.non_trainable_variables]
    _allow_tf32(False)
    _seed(model, [0])
    try:
        with tf.device(model.place):
            yield
    finally:
        for v, old in zip(model.non_trainable_variables, kept, strict=True):
            v.assign(old)
