"""The worker's side of ``vgg bench``: a contender, the task that it is timed on, and the clock.

A contender is our own, on any backend, or one of a framework's baselines in ``vgg.timing.baselines``.
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
"""The prefix of a parameter's gradient in a contender's answers."""
COPIED = 1 << 26
"""The number of float32 to copy for the ceiling: 256 MiB, which no cache holds."""
EPOCH = 100
"""How often a textbook's data set contains each image: otherwise its loader would restart every four batches."""


@dataclass(frozen=True)
class Task:
    """What each contender of a workload gets: uint8 images (N, C, h, w), labels (N,), a file of canonical weights."""

    spec: Spec
    recipe: Recipe
    device: str
    weights: str
    images: Array
    labels: Array

    def params(self) -> Arrays:
        """Return the first weights in canonical order, read anew each time: kept, they would count as used memory."""
        weights = load_params(self.weights)
        return {name: weights[name] for name in shapes(self.spec)}

    def batch(self, number: int) -> tuple[Array, Array]:
        """Return (images, labels) of a batch; after the last batch the first follows again."""
        size = self.recipe.batch_size
        start = number * size % len(self.labels)
        return self.images[start : start + size], self.labels[start : start + size]

    def first(self) -> Array:
        """Return the first batch's images as the network gets them, float32 (batch, C, H, W)."""
        return prepared(self.spec, self.recipe, self.batch(0)[0]).astype(np.float32)

    def ready(self) -> list[tuple[Array, Array]]:
        """Return every batch once: float32 images (batch, C, H, W) as the network gets them, and labels."""
        batches = map(self.batch, range(len(self.labels) // self.recipe.batch_size))
        return [(prepared(self.spec, self.recipe, x).astype(np.float32), y) for x, y in batches]


class Contender(Protocol):
    """A model that trains and infers in its own way."""

    def train(self, count: int) -> None:
        """Take ``count`` steps; ``measure`` waits for the last one."""
        ...

    def infer(self, count: int) -> None:
        """Compute the logits of ``count`` batches and copy them to the host."""
        ...

    def answers(self) -> Arrays:
        """Return ``logits`` of the first batch in eval mode, before any training."""
        ...


class Ours:
    """A contender with a backend's learner, which gets batches as in ``vgg train``."""

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
        """Return logits, and gradients with neutral masks, from the first weights; it may be called at any time."""
        images, labels = self.task.batch(0)
        neutral = masks_of(self.task.spec, len(images), self.task.recipe.seed)
        params = self.task.params()
        still = {VELOCITY + n: np.zeros_like(a) for n, a in params.items() if "running_" not in n}
        self.learner.restore({**params, **still, "step": np.array(0)})
        logits = self.learner.evaluate(images)
        self.learner.step(images, labels, self.task.recipe.lr, neutral)
        moved = {n: a for n, a in self.learner.state().items() if n.startswith(VELOCITY)}
        return {"logits": logits, **{n.replace(VELOCITY, GRADIENT, 1): a for n, a in moved.items()}}


def masks_of(spec: Spec, batch: int, seed: int) -> Arrays:
    """Return neutral masks for a batch of a workload; equal images get equal masks."""
    distinct = masks(spec, batch // times(batch), seed, 0)
    return {name: np.repeat(mask, times(batch), axis=0) for name, mask in distinct.items()}


def noise(size: int) -> Array:
    """Return a random matrix (size, size), float32, for ceilings: processors run faster on matrices of ones."""
    return np.random.default_rng(0).standard_normal((size, size), np.float32)


def make(backend: Any, arrays: Mapping[str, Array], kind: str, **fields: Any) -> Contender:
    """Make a contender by its kind: vgg, textbook or zoo."""
    task = _task(arrays["images"], arrays["labels"], **fields)
    return Ours(backend, task) if kind == "vgg" else getattr(_baselines(backend), kind)(task)


def variables() -> dict[str, str]:
    """Return the environment variables that affect speed and are set here."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def measure(backend: Any, contender: Contender, phase: str, count: int, warm: bool) -> dict[str, float]:
    """Return seconds per step over ``count`` steps, and the process' peak memory so far in bytes, on host and GPU.

    If ``warm``, a step before them is not timed: a process that has waited regains its memory slowly, which does not
    happen between steps. A GPU's peak is 0 if the framework does not report it.
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


def ceiling(backend: Any, size: int, **fields: Any) -> dict[str, float]:
    """Return the ``rates`` of the framework on the device, in the recipe's precision."""
    nothing = np.zeros(0)
    task, baselines = _task(nothing, nothing, **fields), _baselines(backend)
    calls = 10 if task.device == "gpu" else 1  # on a GPU a wait takes as long as a copy
    works = (_repeated(work, calls, baselines.wait) for work in baselines.ceilings(size, task))
    return {what: rate * calls for what, rate in rates(size, *works).items()}


def rates(size: int, multiply: Callable[[], object], copy: Callable[[], object]) -> dict[str, float]:
    """Return ``flops``, the FLOP/s of a product of two square matrices, and ``bytes``, the bytes/s of a copy.

    The copy reads and writes ``COPIED`` float32.
    """
    return {"flops": 2 * size**3 / best(multiply), "bytes": 8 * COPIED / best(copy)}


def _repeated(work: Callable[[], object], calls: int, wait: Callable[[], object]) -> Callable[[], None]:
    """Return a function that makes ``calls`` calls and waits once for all of them."""

    def repeated() -> None:
        results = [work() for _ in range(calls)]  # JAX waits only for arrays that still exist
        wait()
        del results

    return repeated


def best(work: Callable[[], object], times: int = 5) -> float:
    """Return the seconds of the fastest of ``times`` calls, after one that is not timed."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def load_seconds(backend: Any, **fields: Any) -> float:
    """Return the seconds for reading the weights' file into an existing model."""
    task, wait = _task(np.zeros(0), np.zeros(0), **fields), _known(backend, "wait", lambda: None)
    model = backend.build(task.spec, dtype=task.recipe.dtype, device=task.device)
    start = time.perf_counter()
    model = backend.load(model, task.params())
    wait()
    return time.perf_counter() - start


def prepared(spec: Spec, recipe: Recipe, images: Array) -> NDArray[np.float64]:
    """Return uint8 pixels as the network gets them: scaled, normalised and resized."""
    down, across = (resize_matrix(*sides) for sides in zip(images.shape[2:], spec.input_shape[1:], strict=True))
    resized: NDArray[np.float64] = down @ ((images / 255 - recipe.mean) / recipe.std) @ across.T
    return resized


def columns(spec: Spec) -> list[list[int]]:
    """Return the convolutions' widths by block; raise ``VGGError`` if no zoo's class can make the network."""
    convs = {(c.kernel, c.stride, c.padding, c.lrn) for block in spec.blocks for c in block.convs}
    usual = all(block.pool == Pool() for block in spec.blocks) and convs == {(3, 1, 1, False)}
    if not usual or spec.batch_norm or spec.head != Head() or spec.input_shape[1:] != (224, 224):
        raise mismatch("zoo", spec.name, "3x3 convolutions, 2x2 pools, two hidden layers of 4096 on 224x224")
    return [[conv.channels for conv in block.convs] for block in spec.blocks]


def _task(images: Array, labels: Array, *, spec: Any, recipe: Any, device: str, weights: str) -> Task:
    return Task(Spec.from_dict(spec), Recipe.from_dict(recipe), device, weights, images, labels)


def _known(backend: Any, name: str, otherwise: Callable[[], T]) -> Callable[[], T]:
    """Return that function of the framework's baselines, or ``otherwise`` for a plug-in, which has none.

    A plug-in is assumed to have finished what it returns.
    """
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
