"""PyTorch as its tutorials use it, and torchvision's VGG in channels-last, compiled on a GPU."""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name
from torch.utils.data import DataLoader, Dataset

from ...backends import torch as backend
from ..contender import COPIED, EPOCH, Array, Arrays, Task, columns, noise

NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Textbook:
    """A contender with stock layers in NCHW, eager, ``DataLoader``, torchvision's transforms and SGD."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.model = backend.load(backend.build(task.spec, device=task.device), task.params())
        self.optimizer = torch.optim.SGD(self.model.parameters(), task.recipe.lr, task.recipe.momentum)
        _allow_tf32(task)
        workers = {"num_workers": os.cpu_count() or 1, "persistent_workers": True}
        self.batches = _forever(DataLoader(Pictures(task), task.recipe.batch_size, shuffle=True, **workers))

    def train(self, count: int) -> None:
        self.model.train()
        for x, y in itertools.islice(self.batches, count):
            self.optimizer.zero_grad()
            with _autocast(self.task):
                loss = F.cross_entropy(self.model(x.to(_place(self.task))), y.to(_place(self.task)))
            loss.backward()
            self.optimizer.step()
            loss.item()

    def infer(self, count: int) -> None:
        self.model.eval()
        with torch.no_grad(), _autocast(self.task):
            for x, _ in itertools.islice(self.batches, count):
                self.model(x.to(_place(self.task))).cpu()

    def answers(self) -> Arrays:
        x = self.task.first()
        self.model.eval()
        with torch.no_grad(), _autocast(self.task):
            return {"logits": self.model(torch.from_numpy(x).to(_place(self.task))).float().cpu().numpy()}


class Zoo:
    """A contender with torchvision's model in channels-last, compiled on a GPU, and a fused optimizer."""

    def __init__(self, task: Task) -> None:
        self.task = task
        _allow_tf32(task)
        torch.backends.cudnn.benchmark = True
        network = _network(task).to(memory_format=torch.channels_last)
        # On two cores a compiled step took longer: see docs/speed.md.
        self.model = torch.compile(network) if task.device == "gpu" else network
        self.optimizer = torch.optim.SGD(network.parameters(), task.recipe.lr, task.recipe.momentum, fused=True)
        self.batches = itertools.cycle([(self._native(x), self._labels(y)) for x, y in task.ready()])

    def train(self, count: int) -> None:
        self.model.train()
        for x, y in itertools.islice(self.batches, count):
            self.optimizer.zero_grad()
            with _autocast(self.task):
                loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
        loss.item()

    def infer(self, count: int) -> None:
        self.model.eval()
        with torch.inference_mode(), _autocast(self.task):
            for x, _ in itertools.islice(self.batches, count):
                self.model(x).cpu()

    def answers(self) -> Arrays:
        x = self.task.first()
        self.model.eval()
        with torch.inference_mode(), _autocast(self.task):
            return {"logits": self.model(self._native(x)).float().cpu().numpy()}

    def _native(self, x: Array) -> torch.Tensor:
        return torch.from_numpy(x).to(_place(self.task), memory_format=torch.channels_last)

    def _labels(self, y: Array) -> torch.Tensor:
        return torch.from_numpy(y).to(_place(self.task))


def textbook(task: Task) -> Textbook:
    """Return the contender that works as tutorials show."""
    return Textbook(task)


def zoo(task: Task) -> Zoo:
    """Return the contender with the zoo's model in its fastest configuration."""
    return Zoo(task)


def ceilings(size: int, task: Task) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return functions that begin a product of two matrices, and a copy of ``COPIED`` float32, without waiting."""
    _allow_tf32(task)
    matrix = torch.from_numpy(noise(size)).to(_place(task), NARROW.get(task.recipe.precision))
    source, target = torch.ones(2, COPIED, device=_place(task))
    return lambda: matrix @ matrix, lambda: target.copy_(source)


def wait() -> None:
    """Wait for every stream."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def gpu_peak_bytes() -> int:
    """Return the peak of a GPU's memory in arrays, as the framework counts it; 0 without a GPU."""
    return int(torch.cuda.max_memory_allocated())


class Pictures(Dataset[Any]):
    """A data set of the images, ``EPOCH`` times, as torchvision's return them: from PIL, resized, as floats."""

    def __init__(self, task: Task) -> None:
        transforms = torchvision().transforms
        size = transforms.Resize(task.spec.input_shape[1:])
        self.task, self.transform = task, transforms.Compose([transforms.ToPILImage(), size, transforms.ToTensor()])

    def __len__(self) -> int:
        return EPOCH * len(self.task.labels)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        number %= len(self.task.labels)
        return self.transform(torch.from_numpy(self.task.images[number])), int(self.task.labels[number])


def _network(task: Task) -> Any:
    """Return torchvision's model, with the channels and widths of the spec, as for fine-tuning."""
    vgg, widths = torchvision().models.vgg, columns(task.spec)
    first, last = widths[0][0], widths[-1][-1]
    features = vgg.make_layers([part for block in widths for part in (*block, "M")])
    features[0] = nn.Conv2d(task.spec.input_shape[0], first, 3, padding=1)
    model = vgg.VGG(features, task.spec.classes, init_weights=False)
    model.classifier[0] = nn.Linear(last * 49, 4096)
    named = zip(model.state_dict(), task.params().values(), strict=True)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in named})
    return model.to(_place(task))


def _allow_tf32(task: Task) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = task.recipe.precision == "tf32"


def _place(task: Task) -> torch.device:
    return torch.device("cuda" if task.device == "gpu" else "cpu")


def _autocast(task: Task) -> torch.autocast:
    narrow = NARROW.get(task.recipe.precision)
    return torch.autocast(_place(task).type, narrow, enabled=narrow is not None)


def _forever(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def torchvision() -> Any:
    """Import and return torchvision as released.

    Its compiled operators load only with the build of torch that they were made for. With another build, for example a
    CPU-only one, the import fails where it describes two operators that only detection uses, so these are defined here.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
