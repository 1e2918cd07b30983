"""VGG in MXNet: ``gluon.nn.HybridSequential`` of stock layers. Native layout NCHW, OIHW, dense (out, in)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ...core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ...core.params import check_params
from ...core.recipe import Recipe
from ...core.replicas import group
from ...core.resize import resize_matrix
from ...core.spec import Spec
from .. import VELOCITY, Array, Arrays, check_batch, check_build, check_state

DECLARED = {"running_var": "population", "momentum": "float32", "dropout": "float32", "nan": "swallowed"}
# contrib.amp rewrites every operator of the process, for good; on a CPU it has no fp16, and bf16 on few.
PRECISIONS = {"cpu": ("float64", "float32"), "gpu": ("float64", "float32")}
REPLICAS = {"batch_norm": False}  # SyncBatchNorm is not of Gluon's stock layers but of gluon.contrib
_GROUP = group()
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # cuDNN's convolutions are in TF32 else; float32 is to mean float32


class LRN(nn.HybridBlock):
    """``F.LRN`` fails in float64: the sum over near channels as a sum-pool over (N, 1, C, H*W)."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:  # noqa: N803 - its name in Gluon
        flat = F.expand_dims(F.reshape(x * x, (0, 0, -1)), 1)
        near = F.Pooling(flat, kernel=(LRN_SIZE, 1), pad=(LRN_SIZE // 2, 0), pool_type="sum")
        return x * (LRN_K + LRN_ALPHA * F.reshape_like(near, x)) ** -LRN_BETA


def vgg_block(block: Block, channels: int, name: str, batch_norm: bool = False) -> nn.HybridSequential:
    """One block: convolutions with ReLU on ``channels`` input channels, then a max-pool; (N, C, H, W) throughout."""
    layers = nn.HybridSequential(prefix=f"{name}_")
    with layers.name_scope():
        for i, conv in enumerate(block.convs, 1):
            window = (conv.kernel, conv.stride, conv.padding)
            layers.add(nn.Conv2D(conv.channels, *window, in_channels=channels, prefix=f"conv{i}_"))
            if batch_norm:
                momentum, epsilon = BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON
                layers.add(nn.BatchNorm(1, momentum, epsilon, in_channels=conv.channels, prefix=f"bn{i}_"))
            layers.add(nn.Activation("relu", prefix=f"relu{i}_"))
            if conv.lrn:
                layers.add(LRN(prefix=f"lrn{i}_"))
            channels = conv.channels
        if block.pool:
            layers.add(nn.MaxPool2D(block.pool.kernel, block.pool.stride, prefix="pool_"))
    return layers


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> nn.HybridSequential:
    """``spec`` as ``gluon.nn.HybridSequential``; its parameters' names are canonical but for the dots."""
    check_build(dtype, device)
    model = nn.HybridSequential(prefix="")
    channels, features = spec.input_shape[0], spec.feature_shape
    for i, block in enumerate(spec.blocks, 1):
        model.add(vgg_block(block, channels, f"block{i}", spec.batch_norm))
        channels = block.convs[-1].channels
    width = channels if spec.head.global_pool else int(np.prod(features))
    model.add(GlobalAvgPool(prefix="global_avg_pool_") if spec.head.global_pool else nn.Flatten(prefix="flatten_"))
    for i, hidden in enumerate(spec.head.hidden, 1):
        model.add(nn.Dense(hidden, in_units=width, prefix=f"fc{i}_"))
        model.add(nn.Activation("relu", prefix=f"fc{i}_relu_"))
        if spec.head.dropout:
            model.add(nn.Dropout(spec.head.dropout, prefix=f"fc{i}_dropout_"))
        width = hidden
    model.add(nn.Dense(spec.classes, in_units=width, prefix=f"fc{len(spec.head.hidden) + 1}_"))
    model.cast(dtype)
    model.initialize(ctx=mx.gpu() if device == "gpu" else mx.cpu())
    model.spec = spec
    return model


def load(model: nn.HybridSequential, params: Mapping[str, Array]) -> nn.HybridSequential:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    for name, parameter in _parameters(model).items():
        parameter.set_data(_tensor(model, params[name]))
    return model


def dump(model: nn.HybridSequential) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return {name: p.list_data()[0].asnumpy() for name, p in _parameters(model).items()}


def forward(model: nn.HybridSequential, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    with _pure(model), _mode(train):
        return model(_tensor(model, x)).asnumpy()


def trace(model: nn.HybridSequential, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name."""
    activations: Arrays = {}
    with _pure(model), _mode(train):
        out = _tensor(model, x)
        for layer in _layers(model):
            out = layer(out)
            activations[_canonical(layer.name)] = out.asnumpy()
    return activations


def loss_and_grads(model: nn.HybridSequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_batch(x, y, model.spec)
    with _pure(model):
        with autograd.record(train_mode=train):
            out = _tensor(model, x)
            for layer in _layers(model):
                # oneDNN's max-pool keeps what its gradient needs in train mode only; else the gradient is garbage.
                with _mode(train or isinstance(layer, nn.MaxPool2D)):
                    out = layer(out)
            loss = _losses(out, _tensor(model, y)).mean()
        loss.backward(train_mode=train)
        return loss.asscalar().item(), {name: p.grad().asnumpy() for name, p in _trained(model).items()}


def learner(model: nn.HybridSequential, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers."""
    return {
        "framework": f"mxnet {mx.__version__}",
        "versions": {"mxnet": mx.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(f"gpu({i})" for i in range(mx.context.num_gpus()))],
        "gpus": _gpus(),
        "no_gpu": f"MXNet sees {mx.context.num_gpus()}, and can use those of compute capability 8.6 at most",
        "flags": {
            "onednn": mx.runtime.Features().is_enabled("MKLDNN"),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "half of the processors"),
        },
    }


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: nn.HybridSequential, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.steps = 0
        self.trained = _trained(model)
        self.places = _replicas(model)
        self.velocity = {name: [mx.nd.zeros_like(w) for w in p.list_data()] for name, p in self.trained.items()}
        self.store = _store(self.trained)
        self.nets: dict[Any, nn.HybridSequential] = {}

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> mx.np.ndarray:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.model.spec)
        mx.random.seed(self.recipe.mask_seed(_GROUP.numbers(self.steps)[0]))
        for p in self.trained.values() if len(x) < _GROUP.size else ():
            p.zero_grad()  # where a replica has no image
        with autograd.record():
            losses = [
                self._loss(place, *shard) / len(x)
                for place, shard in zip(self.places, _GROUP.split(x, y, masks), strict=True)
                if len(shard[0])
            ]
        if losses:
            autograd.backward(losses)
        for name, p in self.trained.items():
            self._sum(name, p.list_grad())
            for w, g, v in zip(p.list_data(), p.list_grad(), self.velocity[name], strict=True):
                self._update(w, g, v, lr)
        self.steps += 1
        return self._total(losses).as_np_ndarray()  # an NDArray has no float()

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        return self._logits(x, self.places[0], {}).asnumpy()

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        velocity = {VELOCITY + name: v.asnumpy() for name, (v, *_) in self.velocity.items()}
        return {**dump(self.model), **velocity, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.model.spec)
        load(self.model, {name: state[name] for name in _parameters(self.model)})
        for name, velocity in self.velocity.items():
            for v in velocity:
                v[:] = _tensor(self.model, state[VELOCITY + name], v.context)
        self.steps = int(state["step"])

    def _loss(self, place: mx.Context, x: Array, y: Array, masks: Mapping[str, Array]) -> mx.nd.NDArray:
        """Sum over the examples of one replica."""
        return _losses(self._logits(x, place, masks), _tensor(self.model, y, place)).sum()

    def _logits(self, x: Array, place: mx.Context, masks: Mapping[str, Array]) -> mx.nd.NDArray:
        return _masked(self._net(x), _tensor(self.model, x, place, keep=x.dtype == np.uint8), masks)

    def _sum(self, name: str, arrays: list[mx.nd.NDArray]) -> None:
        """Put the sum over all replicas into each array."""
        if self.store:
            self.store.pushpull(name, arrays)

    def _total(self, losses: list[mx.nd.NDArray]) -> mx.nd.NDArray:
        """Sum over all replicas of all processes."""
        here = [loss.as_in_context(self.places[0]) for loss in losses] or [_tensor(self.model, np.zeros(1))]
        total = mx.nd.add_n(*here)
        if _GROUP.processes > 1:
            self._sum("loss", [total])
        return total

    def _update(self, w: mx.nd.NDArray, g: mx.nd.NDArray, v: mx.nd.NDArray, lr: float) -> None:
        """MXNet's own momentum keeps the step, not the gradient."""
        momentum, decay = self.recipe.momentum, self.recipe.weight_decay
        if w.dtype != np.float32:  # the operator below keeps its factors in float32
            v *= momentum
            v += g + decay * w
            w -= lr * v
            return
        # x = (1 - lr wd) x - lr g in one pass over memory, for any x and g.
        mx.nd.sgd_update(v, g, lr=-1.0, wd=momentum - 1, out=v)
        if decay:
            mx.nd.sgd_update(v, w, lr=-decay, wd=0.0, out=v)
        mx.nd.sgd_update(w, v, lr=lr, wd=0.0, out=w)

    def _net(self, x: Array) -> nn.HybridSequential:
        """What takes in images like ``x``, then the model: one compiled graph."""
        sides = x.shape[2:] if x.dtype == np.uint8 else None
        if sides not in self.nets:
            net = self.nets[sides] = nn.HybridSequential(prefix="")
            net.add(self._pixels(sides) if sides else nn.HybridLambda("identity"), self.model)
            net.hybridize(static_alloc=True)
        return self.nets[sides]

    def _pixels(self, sides: tuple[int, ...]) -> Pixels:
        wanted, matrices = self.model.spec.input_shape[1:], {}
        if sides != wanted:
            pairs = zip(("down", "across"), sides, wanted, strict=True)
            matrices = {name: _tensor(self.model, resize_matrix(*pair).T) for name, *pair in pairs}
        pixels = Pixels(self.recipe, next(iter(self.trained.values())).dtype, matrices)
        pixels.initialize(ctx=self.places)
        return pixels


class Pixels(nn.HybridBlock):
    """uint8 (N, C, h, w) to normalised (N, C, H, W) of that dtype, resized by matrices (h, H) and (w, W), if any."""

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


class GlobalAvgPool(nn.HybridSequential):
    """(N, C, H, W) to (N, C)."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix=prefix)
        self.add(nn.GlobalAvgPool2D(), nn.Flatten())


_SLOTS = {"gamma": "weight", "beta": "bias"}
_cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()


def _losses(logits: mx.nd.NDArray, y: mx.nd.NDArray) -> mx.nd.NDArray:
    """In float64: oneDNN's ``log_softmax`` in float32 is off by 1e-6 and more, where there is one class too."""
    return _cross_entropy(logits.astype("float64"), y).astype(logits.dtype)


def _masked(net: nn.HybridSequential, x: mx.nd.NDArray, masks: Mapping[str, Array]) -> mx.nd.NDArray:
    """Logits; dropout layers multiply by ``masks``, layer by layer."""
    if not masks:
        return net(x)
    entry, model = net
    tensors = {name: _tensor(model, mask, x.context) for name, mask in masks.items()}
    x = entry(x)
    for layer in _layers(model):
        mask = tensors.get(_canonical(layer.name))
        x = layer(x) if mask is None else x * mask
    return x


def _tensor(model: nn.HybridSequential, x: Array, place: mx.Context | None = None, keep: bool = False) -> mx.nd.NDArray:
    """``x`` on that device, or the model's first, in its dtype unless ``keep``; labels become floats only there."""
    p = next(iter(model.collect_params().values()))
    tensor = mx.nd.array(x, ctx=place or p.list_ctx()[0], dtype=x.dtype)
    return tensor if keep else tensor.astype(p.dtype)


def _gpus() -> int:
    """How many this build has code for: its newest is for compute capability 8.6."""
    try:
        return sum(mx.nd.ones(1, ctx=mx.gpu(i)).asscalar() == 1 for i in range(mx.context.num_gpus()))
    except mx.MXNetError:
        return 0


def _replicas(model: nn.HybridSequential) -> list[mx.Context]:
    """The devices of this process that hold a replica, now with the model's parameters."""
    parameters = model.collect_params()
    place = next(iter(parameters.values())).list_ctx()[0]
    if _GROUP.replicas == 1:
        return [place]
    if place.device_type == "gpu":
        _GROUP.fit(mx.context.num_gpus())
    places = [mx.Context(place.device_type, number) for number in range(_GROUP.replicas)]
    parameters.reset_ctx(places)
    return places


def _store(trained: Mapping[str, gluon.Parameter]) -> mx.kvstore.KVStore | None:
    """What adds up over replicas, if there are several; first told what shapes to expect."""
    if _GROUP.size == 1:
        return None
    store = mx.kv.create("dist_sync" if _GROUP.processes > 1 else "device")
    shapes = {name: p.list_grad()[0] for name, p in trained.items()}
    for name, array in (shapes | {"loss": mx.nd.zeros(1, dtype=next(iter(shapes.values())).dtype)}).items():
        store.init(name, array)
    return store


def _layers(model: nn.HybridSequential) -> Iterator[nn.HybridBlock]:
    for child in model:
        yield from child if child.name.startswith("block") else [child]


def _canonical(name: str) -> str:
    """'block1_conv1' -> 'block1.conv1', 'fc1_relu' -> 'fc1.relu'."""
    return name if name == "global_avg_pool" else name.replace("_", ".", 1)


def _parameters(model: nn.HybridSequential) -> dict[str, gluon.Parameter]:
    """Canonical name -> parameter, running statistics included."""
    named = {}
    for layer in _layers(model):
        for name, parameter in layer.collect_params().items():
            slot = name.removeprefix(layer.prefix)
            named[f"{_canonical(layer.name)}.{_SLOTS.get(slot, slot)}"] = parameter
    return named


def _trained(model: nn.HybridSequential) -> dict[str, gluon.Parameter]:
    return {name: p for name, p in _parameters(model).items() if p.grad_req != "null"}


def _mode(train: bool) -> Any:
    return autograd.train_mode() if train else autograd.predict_mode()


@contextmanager
def _pure(model: nn.HybridSequential) -> Iterator[None]:
    """Seed the dropout masks afresh, and put running statistics back afterwards."""
    kept = [(p, p.list_data()[0].copy()) for p in _parameters(model).values() if p.grad_req == "null"]
    mx.random.seed(0)
    try:
        yield
    finally:
        for parameter, old in kept:
            parameter.set_data(old)
