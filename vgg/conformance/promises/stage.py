"""The models and learners that promises are judged on, and how their results are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...backends import LEVEL, VELOCITY
from ...core.blocks import Block, Conv, Head, Pool
from ...core.comparator import gradient_limit
from ...core.masks import masks
from ...core.recipe import Recipe
from ...core.spec import Spec
from ..cases import Case
from .arrays import Array, Arrays, copied, overlapping, overwrite

CASE = Case(
    Spec(
        (Block((Conv(16),), Pool(6, 6)),),
        input_shape=(3, 6, 10),
        classes=37,
        head=Head((1283,)),
        batch_norm=True,
        name="promises",
    ),
    batch=67,
)
"""The case of all promises. Its last map is 1x1, so changing that map's layout copies nothing. A weight has 160 KiB in
float64, and the batch more than 64 images, because allocators and frameworks treat large arrays differently.
"""
LR = 0.01
STEPS = 3
_PIXELS = (8, 13)


class BrokenError(Exception):
    """A broken promise; the message says which."""


class Batch(NamedTuple):
    """The images, labels and dropout masks of one step."""

    x: Array
    y: Array
    masks: Arrays


class Stage:
    """A backend with its models and learners, each made once, because some frameworks compile for seconds.

    A model is returned with the case's parameters, a learner at the start state. ``modes`` are those that the backend
    claims: eval mode (False), and train mode (True) if it has gradients.
    """

    def __init__(self, backend: Any, device: str) -> None:
        self.backend, self.device = backend, device
        self.modes = (False,) if getattr(backend, "LEVEL", LEVEL) == "inference" else (False, True)
        self._models: dict[tuple[str, int], Any] = {}
        self._learners: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._dumped: dict[tuple[str, int], Arrays] = {}
        self._started: dict[str, Arrays] = {}

    def build(self, dtype: str, seed: int = 0) -> Any:
        """Return a new model with the case's parameters of that seed."""
        model = self.backend.build(CASE.spec, dtype=dtype, device=self.device)
        return self.backend.load(model, params(dtype, seed))

    def model(self, dtype: str, number: int = 0) -> Any:
        """Return the model of that dtype and number with the case's parameters."""
        key = dtype, number
        if key not in self._models:
            self._models[key] = self.backend.build(CASE.spec, dtype=dtype, device=self.device)
        self._models[key] = self.backend.load(self._models[key], params(dtype))
        return self._models[key]

    def pair(self, dtype: str, number: int = 0) -> tuple[Any, Any]:
        """Return the model and its learner of that dtype and number, at the start state.

        Those with a number other than 0 were made in another thread.
        """
        key = dtype, number
        if key not in self._learners:
            with ThreadPoolExecutor(1) as thread:
                self._learners[key] = thread.submit(self._made, dtype).result() if number else self._made(dtype)
        self._learners[key][1].restore(start(dtype))
        return self._learners[key]

    def _made(self, dtype: str) -> tuple[Any, Any]:
        model = self.build(dtype)
        return model, self.backend.learner(model, recipe(dtype))

    def learner(self, dtype: str, number: int = 0) -> Any:
        """Return the learner of that dtype and number, at the start state."""
        return self.pair(dtype, number)[1]

    def dumped(self, dtype: str, seed: int = 0) -> Arrays:
        """Return what ``dump`` returns for a new model with the case's parameters of that seed."""
        key = dtype, seed
        if key not in self._dumped:
            self._dumped[key] = copied(self.backend.dump(self.build(dtype, seed)))
        return self._dumped[key]

    def started(self, dtype: str) -> Arrays:
        """Return what ``state`` returns for a learner at the start state."""
        if dtype not in self._started:
            self._started[dtype] = copied(self.learner(dtype).state())
        return self._started[dtype]

    def same(self, got: Mapping[str, Array], wanted: Mapping[str, Array], when: str) -> None:
        """Raise ``BrokenError`` unless all bits agree; on a GPU, which adds in no fixed order, within rounding."""
        if self.device != "cpu":
            self.near(got, wanted, when)
            return
        if got.keys() != wanted.keys():
            raise BrokenError(f"{when}: got {sorted(got)}, wanted {sorted(wanted)}")
        for name, array in wanted.items():
            if got[name].dtype != array.dtype or not np.array_equal(got[name], array, equal_nan=True):
                raise BrokenError(f"{when}: {name} is not the same bits")

    def near(self, got: Mapping[str, Array], wanted: Mapping[str, Array], when: str) -> None:
        """Raise ``BrokenError`` unless all arrays together agree within the rounding of a backward pass."""
        if {n: a.shape for n, a in got.items()} != {n: a.shape for n, a in wanted.items()}:
            raise BrokenError(f"{when}: got {sorted(got)}, wanted {sorted(wanted)}, with their shapes")
        dtype = "float32" if any(array.dtype == np.float32 for array in wanted.values()) else "float64"
        one, other = (np.concatenate([np.ravel(a[n]).astype(np.float64) for n in wanted]) for a in (got, wanted))
        error = float(np.linalg.norm(one - other) / np.linalg.norm(other))
        limit = gradient_limit(CASE.spec, dtype, CASE.batch)
        if not error <= limit:
            raise BrokenError(f"{when}: error {error:.1e} is over its limit {limit:.1e}")

    def owned(self, call: Callable[[], Arrays], what: str) -> None:
        """Raise ``BrokenError`` unless what ``call`` returns is the caller's: writing into it changes nothing."""
        one = call()
        kept = copied(one)
        two = call()
        again = copied(two)
        self.near(two, kept, f"{what}, called twice")
        named = [(f"{what}[{name!r}]", array) for arrays in (one, two) for name, array in arrays.items()]
        if names := overlapping(named):
            raise BrokenError(f"{names} share memory; return copies")
        for name, array in named:
            if not array.flags.writeable:
                raise BrokenError(f"{name} is read-only; return a copy")
        for array in one.values():
            overwrite(array)
        one.clear()
        self.same(two, again, f"{what}, after another call's result was overwritten")
        self.near(call(), kept, f"{what}, after its result was overwritten")


def recipe(dtype: str) -> Recipe:
    """Return the recipe of learners of that dtype; the recipes of the two dtypes differ in every number."""
    if dtype == "float64":
        return Recipe(momentum=0.9, weight_decay=0.01, mean=0.3, std=0.4, seed=3, precision=dtype)
    return Recipe(momentum=0.7, weight_decay=0.002, mean=0.1, std=0.6, seed=8, precision=dtype)


def params(dtype: str, seed: int = 0) -> Arrays:
    """Return the case's parameters, different for each seed."""
    return _case(seed).params(dtype)


@cache
def _case(seed: int) -> Case:
    return replace(CASE, seed=seed)


def start(dtype: str, seed: int = 0) -> Arrays:
    """Return a learner's state after three steps, with velocities that are not zero."""
    held = {name: a for name, a in params(dtype, seed + 1).items() if "running_" not in name}
    velocity = {VELOCITY + name: array * array.dtype.type(0.1) for name, array in held.items()}
    return {**params(dtype, seed), **velocity, "step": np.array(3)}


def batch(number: int, dtype: str) -> Batch:
    """Return a batch: images (floats in float64, pixels to resize in float32), labels, and masks by dropout layer."""
    random = np.random.RandomState([number, 7])
    images = random.standard_normal((CASE.batch, *CASE.spec.input_shape))
    pixels = random.randint(0, 256, (CASE.batch, CASE.spec.input_shape[0], *_PIXELS)).astype(np.uint8)
    labels = random.randint(0, CASE.spec.classes, CASE.batch).astype(np.int64)
    neutral = {name: np.asarray(mask, dtype) for name, mask in masks(CASE.spec, CASE.batch, 0, number).items()}
    return Batch(images if dtype == "float64" else pixels, labels, neutral)


def images(number: int, dtype: str) -> Array:
    """Return images (N, C, H, W) in a model's dtype."""
    return batch(number, "float64").x.astype(dtype)


def life(learner: Any, dtype: str, before: Callable[[int], object] | None = None) -> Arrays:
    """Take three steps with the framework's own masks; return losses, logits and state.

    Before each step ``before`` is called with the step's number.
    """
    losses = []
    for number in range(STEPS):
        if before:
            before(number)
        x, y, _ = batch(number, dtype)
        losses.append(learner.step(x, y, LR))
    return {"losses": np.array([float(loss) for loss in losses]), "logits": learner.evaluate(x), **learner.state()}
