"""A training step in MXNet: pixels, masks, replicas."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ...core.recipe import Recipe
from ...core.replicas import group
from .. import Array, Arrays, check_batch, check_images
from ..bookkeeping import resizing, state_of, taken_apart
from .model import dump, load
from .numbers import layers, losses, place, seeded, tensor, trained

_GROUP = group()


def setup() -> None:
    """Throw the switches of the whole process, as a worker does before anything else.

    It is one variable, which cuDNN reads when it starts: without it convolutions on a GPU are in TF32, and float32 is
    to mean float32.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")


def learner(model: nn.HybridSequential, recipe: Recipe) -> Learner:
    """Return a learner that trains ``model`` by SGD; see ``vgg.backends``."""
    return Learner(model, recipe)


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: nn.HybridSequential, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.steps = 0
        self.trained = trained(model)
        self.places = _replicas(model)
        self.optimizer = HeavyBall(recipe.lr, recipe.momentum, recipe.weight_decay)
        make = self.optimizer.create_state
        self.velocity = {name: [make(name, w) for w in p.list_data()] for name, p in self.trained.items()}
        self.store = _store(self.trained)
        self.nets: dict[Any, nn.HybridSequential] = {}

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> mx.np.ndarray:
        """Do a forward pass, a backward pass and an update, and return the loss before the update."""
        check_batch(x, y, self.model.spec, masks)
        seeded(self.model, self.recipe.mask_seed(_GROUP.numbers(self.steps)[0]))
        self.optimizer.set_learning_rate(lr)
        for p in self.trained.values() if len(x) < _GROUP.size else ():
            p.zero_grad()  # where a replica has no image
        with autograd.record():
            shares = [
                self._loss(where, *shard) / len(x)
                for where, shard in zip(self.places, _GROUP.split(x, y, masks), strict=True)
                if len(shard[0])
            ]
        if shares:
            autograd.backward(shares)
        for name, p in self.trained.items():
            self._sum(name, p.list_grad())
            for w, g, v in zip(p.list_data(), p.list_grad(), self.velocity[name], strict=True):
                self.optimizer.update(name, w, g, v)
        self.steps += 1
        return self._total(shares).as_np_ndarray()  # an NDArray has no float()

    def evaluate(self, x: Array) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W) in eval mode."""
        check_images(x, self.model.spec)
        return self._logits(x, self.places[0], {}).asnumpy()

    def state(self) -> Arrays:
        """Return parameters, velocities and the number of steps."""
        velocity = {name: v.asnumpy() for name, (v, *_) in self.velocity.items()}
        return state_of(dump(self.model), velocity, self.steps)

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        params, velocity, self.steps = taken_apart(state, self.model.spec)
        load(self.model, params)
        for name, copies in self.velocity.items():
            for v in copies:
                v[:] = tensor(self.model, velocity[name], v.context)

    def _loss(self, where: mx.Context, x: Array, y: Array, masks: Mapping[str, Array]) -> mx.nd.NDArray:
        """Return the sum of the losses of one replica's examples."""
        return losses(self._logits(x, where, masks), tensor(self.model, y, where)).sum()

    def _logits(self, x: Array, where: mx.Context, masks: Mapping[str, Array]) -> mx.nd.NDArray:
        return _masked(self._net(x), tensor(self.model, x, where, keep=x.dtype == np.uint8), masks)

    def _sum(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Put the sum over all replicas into each array."""
        if self.store:
            self.store.pushpull(name, arrays)

    def _total(self, shares: list[mx.nd.NDArray]) -> mx.nd.NDArray:
        """Return the sum over all replicas of all processes."""
        here = [loss.as_in_context(self.places[0]) for loss in shares] or [tensor(self.model, np.zeros(1))]
        total = mx.nd.add_n(*here)
        if _GROUP.processes > 1:
            self._sum("loss", [total])
        return total

    def _net(self, x: Array) -> nn.HybridSequential:
        """Return one compiled graph: the entry for images like ``x``, then the model."""
        sides = x.shape[2:] if x.dtype == np.uint8 else None
        if sides not in self.nets:
            net = self.nets[sides] = nn.HybridSequential(prefix="")
            net.add(self._pixels(sides) if sides else nn.HybridLambda("identity"), self.model)
            net.hybridize(static_alloc=True)
        return self.nets[sides]

    def _pixels(self, sides: tuple[int, ...]) -> Pixels:
        found = resizing(sides, self.model.spec)
        pairs = zip(("down", "across"), found, strict=True) if found else ()
        matrices = {name: tensor(self.model, matrix.T) for name, matrix in pairs}
        pixels = Pixels(self.recipe, place(self.model).dtype, matrices)
        pixels.initialize(ctx=self.places)
        return pixels


@mx.optimizer.Optimizer.register
class HeavyBall(mx.optimizer.Optimizer):
    """Does SGD whose momentum sums gradients: v = m v + g + decay w, then w -= lr v."""

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.0, wd: float = 0.0, param_dict: Any = None
    ) -> None:
        super().__init__(learning_rate=learning_rate, wd=wd, param_dict=param_dict)
        self.momentum = momentum

    def create_state(self, index: Any, weight: mx.nd.NDArray) -> mx.nd.NDArray:  # noqa: ARG002 - its name in MXNet
        """Return the momentum of one parameter, which is zero before the first step."""
        return mx.nd.zeros_like(weight)

    def update(self, index: Any, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: mx.nd.NDArray) -> None:
        """Update one parameter in place: a temporary would be new memory in every step."""
        self._update_count(index)
        lr, decay, scale = self._get_lr(index), self._get_wd(index), self.rescale_grad
        if weight.dtype != np.float32:  # the operator below keeps its factors in float32
            state *= self.momentum
            state += (grad if scale == 1 else grad * scale) + decay * weight
            weight -= lr * state
            return
        # x = (1 - lr wd) x - lr scale g in one pass over memory, for any x and g.
        mx.nd.sgd_update(state, grad, lr=-1.0, wd=self.momentum - 1, rescale_grad=scale, out=state)
        if decay:
            mx.nd.sgd_update(state, weight, lr=-decay, wd=0.0, out=state)
        mx.nd.sgd_update(weight, state, lr=lr, wd=0.0, out=weight)


class Pixels(nn.HybridBlock):
    """Turns uint8 (N, C, h, w) into normalised (N, C, H, W) of ``dtype``, resized by matrices (h, H) and (w, W), if
    any.
    """

    def __init__(self, recipe: Recipe, dtype: Any, matrices: Mapping[str, mx.nd.NDArray]) -> None:
        super().__init__(prefix="pixels_")
        self.recipe, self.dtype = recipe, dtype
        for name, matrix in matrices.items():
            setattr(self, name, self.params.get_constant(name, matrix))

    def hybrid_forward(self, F: Any, x: Any, **matrices: Any) -> Any:  # noqa: N803 - its name in Gluon
        images = (F.cast(x, self.dtype) / 255 - self.recipe.mean) / self.recipe.std
        for matrix in matrices.values():  # each turn resizes the last axis but one and swaps it with the last
            images = F.dot(F.swapaxes(images, 2, 3), matrix)
        return images


def _masked(net: nn.HybridSequential, x: mx.nd.NDArray, masks: Mapping[str, Array]) -> mx.nd.NDArray:
    """Return the logits; dropout layers multiply by ``masks``, layer by layer."""
    if not masks:
        return net(x)
    entry, model = net
    tensors = {name: tensor(model, mask, x.context) for name, mask in masks.items()}
    x = entry(x)
    for name, layer in layers(model):
        mask = tensors.get(name)
        x = layer(x) if mask is None else x * mask
    return x


def _replicas(model: nn.HybridSequential) -> list[mx.Context]:
    """Copy the model's parameters to every replica's device of this process, and return these devices."""
    first = place(model).list_ctx()[0]
    if _GROUP.replicas == 1:
        return [first]
    if first.device_type == "gpu":
        _GROUP.fit(mx.context.num_gpus())
    places = [mx.Context(first.device_type, number) for number in range(_GROUP.replicas)]
    model.collect_params().reset_ctx(places)
    return places


def _store(own: Mapping[str, gluon.Parameter]) -> mx.kvstore.KVStore | None:
    """Return the store that sums over replicas, told the shapes to expect, or None for one replica."""
    if _GROUP.size == 1:
        return None
    store = mx.kv.create("dist_sync" if _GROUP.processes > 1 else "device")
    shapes = {name: p.list_grad()[0] for name, p in own.items()}
    for name, array in (shapes | {"loss": mx.nd.zeros(1, dtype=next(iter(shapes.values())).dtype)}).items():
        store.init(name, array)
    return store
