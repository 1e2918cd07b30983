"""TensorFlow as its tutorials use it, and ``keras.applications``' VGG with ``jit_compile``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from ...backends import tensorflow as backend
from ...core.layouts import to_hwc
from ..contender import COPIED, EPOCH, Arrays, Task, columns, noise

POLICIES = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16"}
NARROW = {"bf16": tf.bfloat16, "fp16": tf.float16}


class Textbook:
    """A contender with stock layers, ``compile`` and ``fit``, and ``tf.data`` with ``tf.image.resize``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = backend.load(backend.build(task.spec, device=task.device), task.params())
        _compile(self.model, task, jit="auto")
        size = task.spec.input_shape[1:]
        pixels = tf.data.Dataset.from_tensor_slices((task.images.transpose(0, 2, 3, 1), task.labels))
        batches = pixels.cache().repeat(EPOCH).shuffle(len(task.labels)).batch(task.recipe.batch_size)
        resized = batches.map(lambda x, y: (tf.image.resize(x, size) / 255, y), tf.data.AUTOTUNE)
        self.batches = resized.repeat().prefetch(tf.data.AUTOTUNE)

    def train(self, count: int) -> None:
        with _place(self.task):
            self.model.fit(self.batches, steps_per_epoch=count, verbose=0)

    def infer(self, count: int) -> None:
        with _place(self.task):
            self.model.predict(self.batches, steps=count, verbose=0)

    def answers(self) -> Arrays:
        x = self.task.first().transpose(0, 2, 3, 1)
        with _place(self.task):
            return {"logits": self.model.predict(x, verbose=0).astype("float32")}


class Zoo:
    """A contender with ``keras.applications``' VGG-16, without dropout, or else our own model, on prepared batches."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = _network(task)
        # XLA on a CPU does not use oneDNN; Keras itself turns XLA off there.
        _compile(self.model, task, jit=task.device == "gpu" or "auto")
        with _place(task):
            native = [(tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(y)) for x, y in task.ready()]
        self.batches = itertools.cycle(native)

    def train(self, count: int) -> None:
        with _place(self.task):
            for x, y in itertools.islice(self.batches, count):
                self.model.train_on_batch(x, y)

    def infer(self, count: int) -> None:
        with _place(self.task):
            for x, _ in itertools.islice(self.batches, count):
                self.model.predict_on_batch(x)

    def answers(self) -> Arrays:
        x = self.task.first().transpose(0, 2, 3, 1)
        with _place(self.task):
            return {"logits": self.model.predict_on_batch(tf.constant(x)).astype("float32")}


def textbook(task: Task) -> Textbook:
    """Return the contender that works as tutorials show."""
    return Textbook(task)


def zoo(task: Task) -> Zoo:
    """Return the contender with the zoo's model in its fastest configuration."""
    return Zoo(task)


def ceilings(size: int, task: Task) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return functions that begin a product of two matrices, and a copy of ``COPIED`` float32, without waiting."""
    tf.config.experimental.enable_tensor_float_32_execution(task.recipe.precision == "tf32")
    with _place(task):
        matrix = tf.cast(noise(size), NARROW.get(task.recipe.precision, tf.float32))
        source = tf.ones(COPIED)

    def multiply() -> tf.Tensor:
        with _place(task):
            return matrix @ matrix

    def copy() -> tf.Tensor:
        with _place(task):
            return -source

    return multiply, copy


def wait() -> None:
    """Wait for every device."""
    tf.test.experimental.sync_devices()


def gpu_peak_bytes() -> int:
    """Return the peak of a GPU's memory in arrays, as the framework counts it; 0 without a GPU."""
    gpus = tf.config.list_logical_devices("GPU")
    return max((tf.config.experimental.get_memory_info(gpu.name)["peak"] for gpu in gpus), default=0)


def _place(task: Task) -> AbstractContextManager[Any]:
    return tf.device("/GPU:0" if task.device == "gpu" else "/CPU:0")


def _network(task: Task) -> Any:
    if task.spec.name != "vgg16":
        columns(task.spec)
        return backend.load(backend.build(task.spec, device=task.device), task.params())
    with _place(task):
        model = tf.keras.applications.VGG16(weights=None, classes=task.spec.classes, classifier_activation=None)
    for variable, (name, array) in zip(model.weights, task.params().items(), strict=True):
        variable.assign(to_hwc(task.spec, name, array))
    return model


def _compile(model: Any, task: Task, *, jit: Any) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(task.recipe.precision == "tf32")
    if task.recipe.precision in POLICIES:
        for layer in (part for child in model.layers for part in getattr(child, "layers", [child])):
            layer.dtype_policy = tf.keras.DTypePolicy(POLICIES[task.recipe.precision])
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(task.recipe.lr, task.recipe.momentum), loss, jit_compile=jit)
