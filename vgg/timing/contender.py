"""The worker's side of ``vgg bench``: one contender, what it is timed on, and the clock.

A contender is ours, made of any backend, or one of a framework's baselines in ``vgg.timing.baselines``.
"""

from __future__ import annotations

import importlib
import itertools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..backends import VELOCITY
from ..core.blocks import Head, Pool
from ..core.errors import VGGError, mismatch
from ..core.masks import masks
from ..core.params import load_params, shapes
from ..core.recipe import Recipe
from ..core.resize import resize_matrix
from ..core.spec import Spec
from ..training.clock import peak_bytes
from .workloads import times

T = TypeVar("T")
Array = NDArray[Any]
Arrays = dict[str, Array]
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "KMP_AFFINITY", "XLA_FLAGS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS"),
    *("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD"),
    *("XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"),
    *("JAX_ENABLE_COMPILATION_CACHE", "TORCHINDUCTOR_FORCE_DISABLE_CACHES"),
)
GRADIENT = "gradient/"
"""In a contender's answers, the prefix of a parameter's gradient."""
COPIED = 1 << 26
"""How many float32 are copied for the ceiling: 256 MiB, which no cache holds."""
EPOCH = 100
"""How often a textbook's data set holds each image: else its loader would start anew every four batches."""


@dataclass(frozen=True)
class Task:
    """What every contender of a workload gets: uint8 images (N, C, h, w), labels (N,), a file of canonical weights."""

    spec: Spec
    recipe: Recipe
    device: str
    weights: str
    images: Array
    labels: Array

    def params(self) -> Arrays:
        """The weights to start from, in canonical order; read each time, lest they count as the contender's memory."""
        read = load_params(self.weights)
        return {name: read[name] for name in shapes(self.spec)}

    def batch(self, number: int) -> tuple[Array, Array]:
        """(images, labels), round and round."""
        size = self.recipe.batch_size
        start = number * size % len(self.labels)
        return self.images[start : start + size], self.labels[start : start + size]

    def first(self) -> Array:
        """Images of the first batch as the network takes them, float32 (batch, C, H, W)."""
        return prepared(self.spec, self.recipe, self.batch(0)[0]).astype(np.float32)

    def ready(self) -> list[tuple[Array, Array]]:
        """Every batch once: float32 images (batch, C, H, W) as the network takes them, labels."""
        batches = map(self.batch, range(len(self.labels) // self.recipe.batch_size))
        return [(prepared(self.spec, self.recipe, x).astype(np.float32), y) for x, y in batches]


class Contender(Protocol):
    """A model that trains and infers in its own way."""

    def train(self, count: int) -> None:
        """That many steps; ``measure`` waits for the last one."""
        ...

    def infer(self, count: int) -> None:
        """Logits of that many batches, as far as the host."""
        ...

    def answers(self) -> Arrays:
        """``logits`` of the first batch, in eval mode and with the weights that all start from; it is asked first."""
        ...


class Ours:
    """A backend's learner, fed as ``vgg train`` feeds it."""

    def __init__(self, backend: Any, task: Task) -> None:
        self.task, self.numbers = task, itertools.count()
        model = backend.build(task.spec, dtype=task.recipe.dtype, device=task.device)
        self.learner = backend.learner(backend.load(model, task.params()), task.recipe)

    def train(self, count: int) -> None:
        for number in itertools.islice(self.numbers, count):
            float(self.learner.step(*self.task.batch(number), self.task.recipe.lr))

    def infer(self, count: int) -> None:
        for number in itertools.islice(self.numbers, count):
            self.learner.evaluate(self.task.batch(number)[0])

    def answers(self) -> Arrays:
        """The logits, and with neutral masks the gradients, as from the first weights, at any time."""
        images, labels = self.task.batch(0)
        drawn = masks_of(self.task.spec, len(images), self.task.recipe.seed)
        params = self.task.params()
        still = {VELOCITY + n: np.zeros_like(a) for n, a in params.items() if "running_" not in n}
        self.learner.restore({**params, **still, "step": np.array(0)})
        logits = self.learner.evaluate(images)
        self.learner.step(images, labels, self.task.recipe.lr, drawn)
        moved = {n: a for n, a in self.learner.state().items() if n.startswith(VELOCITY)}
        return {"logits": logits, **{n.replace(VELOCITY, GRADIENT, 1): a for n, a in moved.items()}}


def masks_of(spec: Spec, batch: int, seed: int) -> Arrays:
    """Neutral ones for a batch of a workload: the same for the same image."""
    drawn = masks(spec, batch // times(batch), seed, 0)
    return {name: np.repeat(mask, times(batch), axis=0) for name, mask in drawn.items()}


def noise(size: int) -> Array:
    """(size, size) float32, for ceilings: processors run faster on matrices of ones."""
    return np.random.default_rng(0).standard_normal((size, size), np.float32)


def make(backend: Any, arrays: Mapping[str, Array], kind: str, **told: Any) -> Contender:
    """A contender by its kind: vgg, textbook or zoo."""
    task = _task(arrays["images"], arrays["labels"], **told)
    return Ours(backend, task) if kind == "vgg" else getattr(_baselines(backend), kind)(task)


def variables() -> dict[str, str]:
    """What changes speed from outside, as far as it is set here."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def measure(backend: Any, contender: Contender, phase: str, count: int, warm: bool) -> dict[str, float]:
    """Seconds for each of ``count`` steps, if ``warm`` after one that is not timed; the process' peak memory so far,
    of the host and of a GPU (0 where the framework does not say).

    A process that has waited gets back slowly what memory it had given up: a step that trains on has none of that.
    """
    work, wait = getattr(contender, phase), _known(backend, "wait", lambda: None)
    if warm:
        work(1)
        wait()
    start = time.perf_counter()
    work(count)
    wait()
    seconds = (time.perf_counter() - start) / count
    return {"seconds": seconds, "peak_bytes": peak_bytes(), "gpu_peak_bytes": _known(backend, "gpu_peak_bytes", int)()}


def ceiling(backend: Any, size: int, **told: Any) -> dict[str, float]:
    """``rates`` of the framework on the device, in the recipe's precision."""
    nothing = np.zeros(0)
    task, baselines = _task(nothing, nothing, **told), _baselines(backend)
    calls = 10 if task.device == "gpu" else 1  # on a GPU a wait takes as long as a copy
    works = (_repeated(work, calls, baselines.wait) for work in baselines.ceilings(size, task))
    return {what: rate * calls for what, rate in rates(size, *works).items()}


def rates(size: int, multiply: Callable[[], object], copy: Callable[[], object]) -> dict[str, float]:
    """``flops``: FLOP/s of a product of two square matrices; ``bytes``: bytes/s read and written by copying
    ``COPIED`` float32.
    """
    return {"flops": 2 * size**3 / best(multiply), "bytes": 8 * COPIED / best(copy)}


def _repeated(work: Callable[[], object], calls: int, wait: Callable[[], object]) -> Callable[[], None]:
    """That many calls, and one wait for all."""

    def repeated() -> None:
        kept = [work() for _ in range(calls)]  # JAX waits for what is still there
        wait()
        del kept

    return repeated


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds, the first time aside."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def load_seconds(backend: Any, **told: Any) -> float:
    """To read the weights' file into a model that is there."""
    task, wait = _task(np.zeros(0), np.zeros(0), **told), _known(backend, "wait", lambda: None)
    model = backend.build(task.spec, dtype=task.recipe.dtype, device=task.device)
    start = time.perf_counter()
    model = backend.load(model, task.params())
    wait()
    return time.perf_counter() - start


def prepared(spec: Spec, recipe: Recipe, images: Array) -> NDArray[np.float64]:
    """uint8 pixels as the network takes them: scaled, normalised, resized."""
    down, across = (resize_matrix(*sides) for sides in zip(images.shape[2:], spec.input_shape[1:], strict=True))
    resized: NDArray[np.float64] = down @ ((images / 255 - recipe.mean) / recipe.std) @ across.T
    return resized


def columns(spec: Spec) -> list[list[int]]:
    """Widths of the convolutions, block by block; ``VGGError`` where no zoo's class could have made the network."""
    convs = {(c.kernel, c.stride, c.padding, c.lrn) for block in spec.blocks for c in block.convs}
    usual = all(block.pool == Pool() for block in spec.blocks) and convs == {(3, 1, 1, False)}
    if not usual or spec.batch_norm or spec.head != Head() or spec.input_shape[1:] != (224, 224):
        raise mismatch("zoo", spec.name, "3x3 convolutions, 2x2 pools, two hidden layers of 4096 on 224x224")
    return [[conv.channels for conv in block.convs] for block in spec.blocks]


def _task(images: Array, labels: Array, *, spec: Any, recipe: Any, device: str, weights: str) -> Task:
    return Task(Spec.from_dict(spec), Recipe.from_dict(recipe), device, weights, images, labels)


def _known(backend: Any, name: str, otherwise: Callable[[], T]) -> Callable[[], T]:
    """That function of the framework's baselines. A plug-in has none: it is taken to have finished what it returns."""
    try:
        return cast("Callable[[], T]", getattr(_baselines(backend), name))
    except VGGError:
        return otherwise


def _baselines(backend: Any) -> Any:
    name = backend.__name__.rpartition(".")[2]
    try:
        return importlib.import_module(f"vgg.timing.baselines.{name}")
    except ModuleNotFoundError as error:
        raise VGGError(f"{backend.__name__}: no baselines ({error})") from error
