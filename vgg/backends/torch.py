"""VGG in PyTorch: ``torch.nn.Sequential`` of stock layers. Native layout NCHW, OIHW, dense (out, in)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from ..core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, Block
from ..core.params import check_params
from ..core.recipe import LOSS_SCALE, Recipe
from ..core.replicas import Group, group
from ..core.resize import resize_matrix
from ..core.spec import Spec
from . import VELOCITY, Array, Arrays, check_batch, check_build, check_state

DECLARED = {"running_var": "unbiased"}
PRECISIONS = {
    "cpu": ("float64", "float32", "bf16", "fp16"),
    "gpu": ("float64", "float32", "tf32", "bf16", "fp16"),
}
REPLICAS = {"batch_norm": False}  # SyncBatchNorm has no CPU kernel, and so no proof here
_GROUP = group()
_ORDERED = "VGG_DETERMINISTIC" in os.environ
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 means float32


def vgg_block(block: Block, channels: int, batch_norm: bool = False) -> nn.Sequential:
    """One block: convolutions with ReLU on ``channels`` input channels, then a max-pool; (N, C, H, W) throughout."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, conv in enumerate(block.convs, 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding)
        if batch_norm:
            layers[f"bn{i}"] = nn.BatchNorm2d(conv.channels, BATCH_NORM_EPSILON, 1 - BATCH_NORM_MOMENTUM)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        if conv.lrn:
            layers[f"lrn{i}"] = nn.LocalResponseNorm(LRN_SIZE, LRN_ALPHA * LRN_SIZE, LRN_BETA, LRN_K)
        channels = conv.channels
    if block.pool:
        layers["pool"] = nn.MaxPool2d(block.pool.kernel, block.pool.stride)
    return nn.Sequential(layers)


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> nn.Sequential:
    """``spec`` as ``nn.Sequential``; its state dict carries canonical names."""
    check_build(dtype, device)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, features = spec.input_shape[0], spec.feature_shape
    for i, block in enumerate(spec.blocks, 1):
        layers[f"block{i}"] = vgg_block(block, channels, spec.batch_norm)
        channels = block.convs[-1].channels
    if spec.head.global_pool:
        layers["global_avg_pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        layers["flatten"] = nn.Flatten()
    width = channels if spec.head.global_pool else int(np.prod(features))
    for i, hidden in enumerate(spec.head.hidden, 1):
        layers[f"fc{i}"] = nn.Linear(width, hidden)
        layers[f"fc{i}_relu"] = nn.ReLU()
        if spec.head.dropout:
            layers[f"fc{i}_dropout"] = nn.Dropout(spec.head.dropout)
        width = hidden
    layers[f"fc{len(spec.head.hidden) + 1}"] = nn.Linear(width, spec.classes)
    model = nn.Sequential(layers).to(_device(device), getattr(torch, dtype))
    model.spec = spec
    return model


def load(model: nn.Sequential, params: Mapping[str, Array]) -> nn.Sequential:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    state = {name: torch.from_numpy(np.array(array)) for name, array in params.items()}
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(state | counters)
    return model


def dump(model: nn.Sequential) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return _canonical(model.state_dict())


def forward(model: nn.Sequential, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    with torch.no_grad(), _pure(model, train):
        return _numpy(model(_tensor(model, x)))


def trace(model: nn.Sequential, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name."""
    activations: Arrays = {}
    with torch.no_grad(), _pure(model, train):
        out = _tensor(model, x)
        for name, layer in _layers(model):
            out = layer(out)
            activations[name] = _numpy(out)
    return activations


def loss_and_grads(model: nn.Sequential, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_batch(x, y, model.spec)
    with _pure(model, train):
        loss = F.cross_entropy(model(_tensor(model, x)), _labels(model, y))
        names, parameters = zip(*model.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, parameters)
    return float(loss), _canonical(dict(zip(names, grads, strict=True)))


def learner(model: nn.Sequential, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers."""
    return {
        "framework": f"torch {torch.__version__}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "devices": ["cpu", *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))],
        "gpus": torch.cuda.device_count(),
        "flags": {
            "threads": torch.get_num_threads(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
            "tf32_conv": torch.backends.cudnn.allow_tf32,
        },
    }


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: nn.Sequential, recipe: Recipe) -> None:
        self.layout = _layout(model, recipe.precision)
        self.model = model.to(memory_format=self.layout)
        self.replica = _replicated(self.model)
        self.recipe = recipe
        self.steps = 0
        self.matrices: dict[Any, list[torch.Tensor]] = {}
        torch.use_deterministic_algorithms(_ORDERED, warn_only=_normalises(model))
        torch.backends.cudnn.benchmark = not _ORDERED  # batches of one size: the fastest kernels are worth a search
        self.optimizer = torch.optim.SGD(
            model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        device, narrow = _where(model).device.type, recipe.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device, LOSS_SCALE / _GROUP.size, enabled=narrow)
        for p in model.parameters():
            self._velocity(p)  # else a first step that overflows would leave whatever the memory held

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> torch.Tensor:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.model.spec)
        (number,), ((mine, labels, masks),) = _GROUP.numbers(self.steps), _GROUP.split(x, y, masks)
        torch.manual_seed(self.recipe.mask_seed(number))
        self.optimizer.param_groups[0]["lr"] = lr
        self.model.train()
        labels = _labels(self.model, labels)  # a copy waits for all that is under way
        with _masked(self.model, masks):
            logits = self._logits(self.replica, mine, self.layout)
        # The replicas' mean, which DistributedDataParallel takes, is the batch's.
        loss = F.cross_entropy(logits, labels, reduction="sum") * (_GROUP.size / len(x))
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update(LOSS_SCALE / _GROUP.size)
        self.steps += 1
        return _mean(loss.detach())

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        self.model.eval()
        with torch.inference_mode():
            return _numpy(self._logits(self.model, x, torch.channels_last))

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        buffers = {name: self._velocity(p) for name, p in self.model.named_parameters()}
        velocity = {VELOCITY + name: v for name, v in _canonical(buffers).items()}
        return {**dump(self.model), **velocity, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.model.spec)
        load(self.model, {n: a for n, a in state.items() if n != "step" and not n.startswith(VELOCITY)})
        for name, p in self.model.named_parameters():
            self._velocity(p).copy_(torch.from_numpy(np.array(state[VELOCITY + name])))
        self.steps = int(state["step"])

    def _velocity(self, p: nn.Parameter) -> torch.Tensor:
        return self.optimizer.state[p].setdefault("momentum_buffer", torch.zeros_like(p))

    def _logits(self, model: nn.Module, x: Array, layout: torch.memory_format) -> torch.Tensor:
        """In the recipe's precision, then as wide as the parameters, for the loss."""
        _allow_tf32(False)  # pixels are resized in float32
        images, where, narrow = self._images(x), _where(self.model), _NARROW.get(self.recipe.precision)
        _allow_tf32(self.recipe.precision == "tf32")
        with torch.autocast(where.device.type, narrow, enabled=narrow is not None):
            return model(images.contiguous(memory_format=layout)).to(where.dtype)

    def _images(self, x: Array) -> torch.Tensor:
        images = _tensor(self.model, x, keep=x.dtype == np.uint8)
        if x.dtype == np.uint8:
            images = (images.to(_where(self.model).dtype) / 255 - self.recipe.mean) / self.recipe.std
            if x.shape[2:] != self.model.spec.input_shape[1:]:
                down, across = self._matrices(x.shape[2:])
                images = down @ images @ across.T
        return images

    def _matrices(self, sides: tuple[int, ...]) -> list[torch.Tensor]:
        """What resizes images of these sides: on the device, and once."""
        if sides not in self.matrices:
            pairs = zip(sides, self.model.spec.input_shape[1:], strict=True)
            self.matrices[sides] = [_tensor(self.model, resize_matrix(*pair)) for pair in pairs]
        return self.matrices[sides]


_NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _allow_tf32(allowed: bool) -> None:
    """A switch of the whole process: whatever computes sets it."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def _normalises(model: nn.Sequential) -> bool:
    """LRN's gradient has no deterministic algorithm on a GPU: there PyTorch is to warn, not to refuse."""
    return any(conv.lrn for block in model.spec.blocks for conv in block.convs)


def _layout(model: nn.Sequential, precision: str) -> torch.memory_format:
    """The faster one to train in: channels-last, but on a CPU oneDNN's weight gradients of wide maps with many channels
    take up to three times as long in it.
    """
    (_, *sides), first, where = model.spec.input_shape, model.spec.blocks[0].convs[0], _where(model).device.type
    wide = first.channels >= 64 and first.stride == 1 and min(sides) >= 128
    return torch.contiguous_format if wide and (where, precision) == ("cpu", "float32") else torch.channels_last


def _device(name: str) -> torch.device:
    if name != "gpu":
        return torch.device(name)
    Group(int(os.environ.get("LOCAL_WORLD_SIZE", "1"))).fit(torch.cuda.device_count())
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(place)  # where NCCL looks
    return place


def _replicated(model: nn.Sequential) -> nn.Module:
    """``model``, its gradients the mean over all processes."""
    if _GROUP.size == 1:
        return model
    if not distributed.is_initialized():
        distributed.init_process_group()
    return nn.parallel.DistributedDataParallel(model)


def _mean(loss: torch.Tensor) -> torch.Tensor:
    """Over replicas."""
    if _GROUP.size == 1:
        return loss
    distributed.all_reduce(loss)
    return loss / _GROUP.size


def _where(model: nn.Sequential) -> torch.Tensor:
    return next(model.parameters())


def _tensor(model: nn.Sequential, x: Array, keep: bool = False) -> torch.Tensor:
    """``x`` on the model's device, in its dtype unless ``keep``."""
    p = _where(model)
    return torch.from_numpy(np.ascontiguousarray(x)).to(p.device, None if keep else p.dtype)


def _labels(model: nn.Sequential, y: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(y)).to(_where(model).device)


def _numpy(x: torch.Tensor) -> Array:
    return np.array(x.detach().cpu().numpy(), order="C")


def _canonical(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: _numpy(t) for name, t in tensors.items() if not name.endswith("num_batches_tracked")}


def _layers(model: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    for name, child in model.named_children():
        if name.startswith("block"):
            yield from ((f"{name}.{part}", layer) for part, layer in child.named_children())
        else:
            yield name.replace("_", ".") if name.startswith("fc") else name, child


@contextmanager
def _masked(model: nn.Sequential, masks: Mapping[str, Array]) -> Iterator[None]:
    """Let dropout layers multiply by ``masks``."""
    with ExitStack() as hooks:
        for name, layer in _layers(model):
            if name in masks:
                mask = _tensor(model, masks[name])
                hook = layer.register_forward_hook(lambda _layer, inputs, _out, mask=mask: inputs[0] * mask)
                hooks.callback(hook.remove)
        yield


@contextmanager
def _pure(model: nn.Sequential, train: bool) -> Iterator[None]:
    """Set the mode, seed the dropout masks afresh, and put running statistics back afterwards."""
    kept, before = [buffer.clone() for buffer in model.buffers()], model.training
    _allow_tf32(False)
    torch.manual_seed(0)
    model.train(train)
    try:
        yield
    finally:
        model.train(before)
        for buffer, old in zip(model.buffers(), kept, strict=True):
            buffer.copy_(old)
