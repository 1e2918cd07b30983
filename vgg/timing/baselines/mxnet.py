"""MXNet as its tutorials use it, and ``gluon.model_zoo``'s VGG hybridized with static memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon.data.vision import transforms
from mxnet.gluon.model_zoo.vision import VGG

from ...backends import mxnet as backend
from ..contender import COPIED, EPOCH, Arrays, Task, columns, noise


class Textbook:
    """A contender with stock layers (not hybridized), ``gluon.data.DataLoader``, its transforms, ``gluon.Trainer``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = self.network()
        sgd = {"learning_rate": task.recipe.lr, "momentum": task.recipe.momentum}
        self.trainer = gluon.Trainer(self.model.collect_params(), "sgd", sgd)
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.batches = self._batches()

    def network(self) -> Any:
        return backend.load(backend.build(self.task.spec, device=self.task.device), self.task.params())

    def train(self, count: int) -> None:
        for x, y in itertools.islice(self.batches, count):
            with autograd.record():
                loss = self.loss(self.model(x.as_in_context(_place(self.task))), y.as_in_context(_place(self.task)))
            loss.backward()
            self.trainer.step(len(x))

    def infer(self, count: int) -> None:
        for x, _ in itertools.islice(self.batches, count):
            self.model(x.as_in_context(_place(self.task))).asnumpy()

    def answers(self) -> Arrays:
        x = self.task.first()
        return {"logits": self.model(mx.nd.array(x, ctx=_place(self.task))).asnumpy()}

    def _batches(self) -> Iterator[Any]:
        turn = transforms.Compose([transforms.Resize(self.task.spec.input_shape[:0:-1]), transforms.ToTensor()])
        images = mx.nd.array(self.task.images.transpose(0, 2, 3, 1), dtype="uint8")
        pictures = gluon.data.ArrayDataset(images, self.task.labels.astype("float32")).transform_first(turn)
        order = np.random.RandomState(0).permutation(EPOCH * len(pictures)) % len(pictures)
        options = {"sampler": order.tolist(), "num_workers": os.cpu_count() or 1}
        loader = gluon.data.DataLoader(pictures, self.task.recipe.batch_size, **options)
        while True:
            yield from loader


class Zoo(Textbook):
    """A contender with the zoo's class, hybridized, on prepared batches."""

    def network(self) -> Any:
        widths = columns(self.task.spec)
        model = VGG([len(block) for block in widths], [block[0] for block in widths], classes=self.task.spec.classes)
        model.initialize(ctx=_place(self.task))
        model(mx.nd.zeros((1, *self.task.spec.input_shape), ctx=_place(self.task)))
        for parameter, array in zip(model.collect_params().values(), self.task.params().values(), strict=True):
            parameter.set_data(mx.nd.array(array))
        model.hybridize(static_alloc=True, static_shape=True)
        return model

    def _batches(self) -> Iterator[Any]:
        native = [[mx.nd.array(part, ctx=_place(self.task)) for part in batch] for batch in self.task.ready()]
        return itertools.cycle(native)


def textbook(task: Task) -> Textbook:
    """Return the contender that works as tutorials show."""
    return Textbook(task)


def zoo(task: Task) -> Zoo:
    """Return the contender with the zoo's model in its fastest configuration."""
    return Zoo(task)


def ceilings(size: int, task: Task) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return functions that begin a product of two matrices, and a copy of ``COPIED`` float32, without waiting."""
    matrix = mx.nd.array(noise(size), ctx=_place(task))
    source = mx.nd.ones(COPIED, ctx=_place(task))
    return lambda: mx.nd.dot(matrix, matrix), source.copy


def wait() -> None:
    """Wait for the engine: a step's update still runs when its loss is known."""
    mx.nd.waitall()


def gpu_peak_bytes() -> int:
    """Return 0: MXNet does not report the peak of a GPU's memory."""
    return 0


def _place(task: Task) -> mx.Context:
    return mx.gpu() if task.device == "gpu" else mx.cpu()
