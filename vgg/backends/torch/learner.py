"""Training in PyTorch: steps in every precision, dropout masks, and replicas."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from ...core.recipe import LOSS_SCALE, Recipe
from ...core.replicas import Group, group
from .. import Array, Arrays, check_batch, check_images
from ..bookkeeping import resizing, state_of, taken_apart
from .model import dump, load
from .numbers import labels, layers, numpy, place, seeded, tensor, tf32

_NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}
_GROUP = group()


def setup() -> None:
    """Set torch's global options for this process. A worker calls this before everything else.

    float32 arithmetic is float32, not TF32. With the variable ``VGG_DETERMINISTIC`` torch always adds in the same
    order; LRN's gradient has no deterministic algorithm on a GPU, for which torch warns. Without it cuDNN searches the
    fastest kernels, which pays because all batches have the same size.

    Raises ``VGGError`` when the process has more replicas than GPUs.
    """
    ordered = "VGG_DETERMINISTIC" in os.environ
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(ordered, warn_only=True)
    torch.backends.cudnn.benchmark = not ordered
    if torch.cuda.is_available():
        Group(int(os.environ.get("LOCAL_WORLD_SIZE", "1"))).fit(torch.cuda.device_count())
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # the device that NCCL and ``build`` use


def learner(model: nn.Sequential, recipe: Recipe) -> Learner:
    """Return a learner that trains ``model`` by SGD; see ``vgg.backends``."""
    return Learner(model, recipe)


class Learner:
    """A training step on the model's device; see ``vgg.backends.Learner``."""

    def __init__(self, model: nn.Sequential, recipe: Recipe) -> None:
        self.layout = _layout(model, recipe.precision)
        self.model = model.to(memory_format=self.layout)
        self.replica = _replicated(self.model)
        self.recipe = recipe
        self.steps = 0
        self.matrices = lru_cache(_matrices)
        self.optimizer = torch.optim.SGD(
            model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        device, narrow = place(model).device.type, recipe.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device, LOSS_SCALE / _GROUP.size, enabled=narrow)
        for p in model.parameters():
            self._velocity(p)  # else a first step that overflows would leave whatever the memory held

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> torch.Tensor:
        """Do a forward pass, a backward pass and an update, and return the loss before the update.

        ``x`` is (N, C, H, W), ``y`` (N,). Raises ``VGGError`` when they do not fit the network.
        """
        check_batch(x, y, self.model.spec, masks)
        (number,), ((mine, targets, own),) = _GROUP.numbers(self.steps), _GROUP.split(x, y, masks)
        self.optimizer.param_groups[0]["lr"] = lr
        self.model.train()
        targets = labels(self.model, targets)  # early, because a copy to the GPU waits for all work in progress
        with seeded(self.model, self.recipe.mask_seed(number)), tf32(self.recipe.precision == "tf32"):
            with _masked(self.model, own):
                logits = self._logits(self.replica, mine, self.layout)
            # DistributedDataParallel takes the mean over replicas, which is then the mean over the batch.
            loss = F.cross_entropy(logits, targets, reduction="sum") * (_GROUP.size / len(x))
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update(LOSS_SCALE / _GROUP.size)
        self.steps += 1
        return _mean(loss.detach())

    def evaluate(self, x: Array) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W) in eval mode."""
        check_images(x, self.model.spec)
        self.model.eval()
        with torch.inference_mode(), tf32(self.recipe.precision == "tf32"):
            return numpy(self._logits(self.model, x, torch.channels_last))

    def state(self) -> Arrays:
        """Return parameters, velocities and the number of steps; see ``vgg.backends.Learner.state``."""
        velocity = {name: numpy(self._velocity(p)) for name, p in self.model.named_parameters()}
        return state_of(dump(self.model), velocity, self.steps)

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a result of ``state``. Raises ``VGGError`` when it is not a state of this network."""
        params, velocity, self.steps = taken_apart(state, self.model.spec)
        load(self.model, params)
        for name, p in self.model.named_parameters():
            self._velocity(p).copy_(torch.from_numpy(np.array(velocity[name])))

    def _velocity(self, p: nn.Parameter) -> torch.Tensor:
        return self.optimizer.state[p].setdefault("momentum_buffer", torch.zeros_like(p))

    def _logits(self, model: nn.Module, x: Array, layout: torch.memory_format) -> torch.Tensor:
        """Return the logits, computed in the recipe's precision and then converted to the parameters' dtype."""
        with tf32(allowed=False):
            images = self._images(x)
        where, narrow = place(self.model), _NARROW.get(self.recipe.precision)
        with torch.autocast(where.device.type, narrow, enabled=narrow is not None):
            return model(images.contiguous(memory_format=layout)).to(where.dtype)

    def _images(self, x: Array) -> torch.Tensor:
        images = tensor(self.model, x, keep=x.dtype == np.uint8)
        if x.dtype == np.uint8:
            images = (images.to(place(self.model).dtype) / 255 - self.recipe.mean) / self.recipe.std
            if matrices := self.matrices(self.model, x.shape[2:]):
                down, across = matrices
                images = down @ images @ across.T
        return images


def _matrices(model: nn.Sequential, sides: tuple[int, ...]) -> list[torch.Tensor]:
    """Return the matrices that resize images of these sides, on the model's device; none if they need no resizing."""
    return [tensor(model, matrix) for matrix in resizing(sides, model.spec) or ()]


def _layout(model: nn.Sequential, precision: str) -> torch.memory_format:
    """Return the memory format in which training is faster.

    This is channels-last, except on a CPU for wide maps with many channels: oneDNN's weight gradients of these take up
    to three times as long in it.
    """
    (_, *sides), first, where = model.spec.input_shape, model.spec.blocks[0].convs[0], place(model).device.type
    wide = first.channels >= 64 and first.stride == 1 and min(sides) >= 128
    return torch.contiguous_format if wide and (where, precision) == ("cpu", "float32") else torch.channels_last


def _replicated(model: nn.Sequential) -> nn.Module:
    """Return ``model``, or with several processes a wrapper that averages its gradients over all of them."""
    if _GROUP.size == 1:
        return model
    if not distributed.is_initialized():
        distributed.init_process_group()
    return nn.parallel.DistributedDataParallel(model)


def _mean(loss: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``loss`` over replicas."""
    if _GROUP.size == 1:
        return loss
    distributed.all_reduce(loss)
    return loss / _GROUP.size


@contextmanager
def _masked(model: nn.Sequential, masks: Mapping[str, Array]) -> Iterator[None]:
    """Let dropout layers multiply by ``masks`` within the block, in place of their own masks."""
    with ExitStack() as hooks:
        for name, layer in layers(model):
            if name in masks:
                mask = tensor(model, masks[name])
                hook = layer.register_forward_hook(lambda _layer, inputs, _out, mask=mask: inputs[0] * mask)
                hooks.callback(hook.remove)
        yield
