"""The jobs of a worker: what it does with one backend, its models and learners."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import (
    DTYPES,
    FACTS,
    FUNCTIONS,
    LEVEL,
    LEVELS,
    NEEDED,
    PRECISIONS,
    check_floats,
    check_images,
    check_masks,
)
from ..conformance.promises import PROMISES, BrokenError, Stage
from ..core import replicas
from ..core.errors import ContractError, mismatch, unknown
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..core.texts import shown
from ..core.values import real
from ..process import wire
from ..timing import contender
from ..training import loop

if TYPE_CHECKING:
    pass

Emit = Callable[[dict[str, Any]], None]
Reply = tuple[Any, wire.Arrays]


@dataclass
class Slot:
    """A model and its learner, with the spec, the dtype and the device for which the model was built."""

    spec: Spec | None = None
    dtype: str = ""
    device: str = "cpu"
    model: Any = None
    learner: Any = None


class Session:
    """The jobs of a worker, one method each. They mirror the contract of a backend.

    A job takes arrays and JSON arguments, and returns a JSON result and arrays. It raises ``VGGError`` when the backend
    does not claim the job or the arguments are wrong, and ``ContractError`` when the backend breaks its contract.
    """

    def __init__(self, module: str, emit: Emit, stopping: Callable[[], bool] = lambda: False) -> None:
        self.backend: Any = importlib.import_module(module)
        self.emit, self.stopping = emit, stopping
        self.slots: dict[str, Slot] = {}
        self.slot = self.slots.setdefault("", Slot())
        self.contender: Any = None
        self.stages: dict[str, Stage] = {}
        self.level, self.dtypes = _claims(self.backend)
        _check_tables(self.backend)
        getattr(self.backend, "setup", lambda: None)()
        needed = [name for name in FUNCTIONS if self._reaches(NEEDED.get(name, LEVELS[0]))]
        missing = [name for name in needed if not callable(getattr(self.backend, name, None))]
        if missing:
            raise mismatch(module, f"no {', '.join(missing)}", f"the functions {', '.join(needed)}")
        self.group = replicas.group()
        if self.group.size > 1 and not hasattr(self.backend, "REPLICAS"):
            raise mismatch("--replicas", self.group.size, f"1: {module} trains on one device")

    def facts(self, arrays: wire.Arrays) -> Reply:
        facts = self.backend.facts()
        if not isinstance(facts, Mapping):
            raise mismatch("facts()", type(facts).__name__, "a dict", kind=ContractError)
        missing = [name for name in FACTS if name not in facts]
        if missing:
            raise mismatch("facts()", f"no {', '.join(missing)}", f"a dict with {', '.join(FACTS)}")
        about: dict[str, Any] = {
            "level": self.level,
            "dtypes": self.dtypes,
            "declared": dict(getattr(self.backend, "DECLARED", {})),
            "precisions": self._precisions(),
            "python": sys.version.split()[0],
            "replicas": self.group.size,
        }
        return {"gpus": 0, **facts, **about}, {}

    def place(self, arrays: wire.Arrays, device: str, precision: str | None = None) -> Reply:
        """Return what ``device``, which may be auto, stands for: cpu or gpu.

        Raises ``VGGError`` when there is no such device or it does not support ``precision``.
        """
        facts = {} if device == "cpu" else self.backend.facts()
        gpus = facts.get("gpus", 0)
        if device == "gpu" and not gpus:
            raise mismatch("device", "gpu", "cpu or auto", facts.get("no_gpu", "the framework sees no CUDA device"))
        place = ("gpu" if gpus else "cpu") if device == "auto" else device
        precisions = self._precisions().get(place, ())
        if precision and precision not in precisions:
            raise mismatch("precision", f"{precision} on {place}", f"one of {', '.join(precisions)}")
        return place, {}

    def select(self, arrays: wire.Arrays, name: str) -> Reply:
        self.slot = self.slots.setdefault(name, Slot())
        return None, {}

    def build(self, arrays: wire.Arrays, spec: dict[str, Any], dtype: str, device: str) -> Reply:
        self._claims_dtype(dtype)
        slot, net, (place, _) = self.slot, Spec.from_dict(spec), self.place({}, device)
        slot.model = slot.learner = None  # the memory may not be enough for two models
        slot.spec, slot.dtype, slot.device = net, dtype, place
        slot.model = self.backend.build(slot.spec, dtype=dtype, device=slot.device)
        return slot.device, {}

    def load(self, arrays: wire.Arrays) -> Reply:
        with _unchanged(arrays):
            self.slot.model = self.backend.load(self.slot.model, arrays)
        return None, {}

    def dump(self, arrays: wire.Arrays) -> Reply:
        return None, _arrays(self.backend.dump(self.slot.model))

    def forward(self, arrays: wire.Arrays, train: bool) -> Reply:
        self._claims_mode(train)
        with _unchanged(arrays):
            logits = self.backend.forward(self.slot.model, self._images(arrays["x"]), train=train)
        return None, _arrays({"logits": logits})

    def trace(self, arrays: wire.Arrays, train: bool) -> Reply:
        self._claims_mode(train)
        with _unchanged(arrays):
            activations = _arrays(self.backend.trace(self.slot.model, self._images(arrays["x"]), train=train))
        return list(activations), activations

    def loss_and_grads(self, arrays: wire.Arrays, train: bool) -> Reply:
        self._claims_level("gradients", "loss_and_grads")
        with _unchanged(arrays):
            x, y = self._images(arrays["x"]), arrays["y"]
            loss, grads = self.backend.loss_and_grads(self.slot.model, x, y, train=train)
        return real("loss", loss), _arrays(grads)

    def learner(self, arrays: wire.Arrays, recipe: dict[str, Any]) -> Reply:
        plan = self._plan(recipe, "learner")
        self.place({}, self.slot.device, plan.precision)
        if self.slot.dtype != plan.dtype:
            raise mismatch("model", self.slot.dtype or "none", f"{plan.dtype}, which {plan.precision} is learned in")
        self._fits(self.slot.spec)
        self.slot.learner = self.backend.learner(self.slot.model, plan)
        return None, {}

    def step(self, arrays: wire.Arrays, lr: float) -> Reply:
        masks = {name.removeprefix(wire.MASK): a for name, a in arrays.items() if name.startswith(wire.MASK)}
        options = {"masks": masks} if masks else {}
        if self.slot.spec:
            check_masks(masks, len(arrays["x"]), self.slot.spec)
        with _unchanged(arrays):
            return real("step()", self.slot.learner.step(arrays["x"], arrays["y"], lr, **options)), {}

    def evaluate(self, arrays: wire.Arrays) -> Reply:
        if self.slot.spec:
            check_images(arrays["x"], self.slot.spec)
        with _unchanged(arrays):
            return None, _arrays({"logits": self.slot.learner.evaluate(arrays["x"])})

    def state(self, arrays: wire.Arrays) -> Reply:
        return None, _arrays(self.slot.learner.state())

    def restore(self, arrays: wire.Arrays) -> Reply:
        with _unchanged(arrays):
            self.slot.learner.restore(arrays)
        return None, {}

    def script(self, arrays: wire.Arrays, source: str, spec: dict[str, Any], dtype: str) -> Reply:
        """Execute the source that ``vgg code`` prints. Its model and its training step become the slot's."""
        self._claims_dtype(dtype)
        if not callable(getattr(self.backend, "scripted", None)):
            raise mismatch(self.backend.__name__, "no scripted", "the function that executes its scripts")
        slot = self.slot
        slot.model = slot.learner = None
        slot.spec, slot.dtype, slot.device = Spec.from_dict(spec), dtype, "cpu"
        slot.model, step = self.backend.scripted(source, slot.spec, dtype=dtype)
        slot.learner = SimpleNamespace(step=lambda x, y, lr: step(x, y)) if step else None
        return None, {}

    def promise(self, arrays: wire.Arrays, name: str, dtype: str, device: str) -> Reply:
        """Return how the backend breaks the promise of this name, or an empty text when it keeps the promise."""
        place, _ = self.place({}, device)
        stage = self.stages.setdefault(place, Stage(self.backend, place))
        try:
            PROMISES[name].judge(stage, dtype)
        except BrokenError as broken:
            return str(broken), {}
        return "", {}

    def train(self, arrays: wire.Arrays, out: str, device: str, recipe: dict[str, Any], **options: Any) -> Reply:
        plan = self._plan(recipe, "train")
        facts, _ = self.facts({})
        device, _ = self.place({}, device, plan.precision)
        self._fits(Spec.from_dict(options["spec"]))
        start, emit_seconds = time.perf_counter(), [0.0]

        def emit(event: dict[str, Any]) -> None:
            emit_start = time.perf_counter()
            self.emit(event)
            emit_seconds[0] += time.perf_counter() - emit_start

        options |= {"device": device, "recipe": recipe, "facts": facts, "emit": emit, "stopping": self.stopping}
        summary = loop.run(self.backend, Path(out), arrays, **options)
        return {**summary, "seconds": time.perf_counter() - start - emit_seconds[0]}, {}

    def contend(self, arrays: wire.Arrays, **arguments: Any) -> Reply:
        plan = self._plan(arguments["recipe"], "contend")
        self.place({}, arguments["device"], plan.precision)
        self.contender = contender.make(self.backend, arrays, **arguments)
        return contender.variables(), {}

    def measure(self, arrays: wire.Arrays, phase: str, count: int, warm: bool) -> Reply:
        return contender.measure(self.backend, self.contender, phase, count, warm), {}

    def answers(self, arrays: wire.Arrays) -> Reply:
        return None, _arrays(self.contender.answers())

    def ceiling(self, arrays: wire.Arrays, **arguments: Any) -> Reply:
        return contender.ceiling(self.backend, **arguments), {}

    def load_seconds(self, arrays: wire.Arrays, **arguments: Any) -> Reply:
        return contender.load_seconds(self.backend, **arguments), {}

    def _images(self, x: Any) -> Any:
        """Return ``x`` if it is floating images of the model's shape, and raise ``VGGError`` if not."""
        if self.slot.spec:
            check_floats(x, self.slot.spec)
        return x

    def _reaches(self, level: str) -> bool:
        """Return whether the backend claims this level."""
        return LEVELS.index(level) <= LEVELS.index(self.level)

    def _claims_level(self, level: str, job: str) -> None:
        if not self._reaches(level):
            wanted = f"{level}, which {job} needs"
            raise mismatch("level", f"{self.level}, as the backend claims", wanted, "ask a backend that claims it")

    def _claims_mode(self, train: bool) -> None:
        if train:
            self._claims_level("gradients", "train mode")

    def _claims_dtype(self, dtype: str) -> None:
        if dtype not in self.dtypes:
            raise mismatch("dtype", dtype, f"one of {', '.join(self.dtypes)}, as the backend claims")

    def _plan(self, recipe: dict[str, Any], job: str) -> Recipe:
        """Return the recipe of a job that trains.

        Raises ``VGGError`` unless the backend claims training and the recipe's dtype.
        """
        self._claims_level("training", job)
        plan = Recipe.from_dict(recipe)
        self._claims_dtype(plan.dtype)
        return plan

    def _precisions(self) -> dict[str, tuple[str, ...]]:
        """Return {device: precisions} without the precisions whose parameters have a dtype that is not claimed."""
        precisions = getattr(self.backend, "PRECISIONS", PRECISIONS)
        return {device: tuple(name for name in names if self._holds(name)) for device, names in precisions.items()}

    def _holds(self, precision: str) -> bool:
        """Return whether the backend claims the dtype of the parameters in this precision."""
        return ("float64" if precision == "float64" else "float32") in self.dtypes

    def _fits(self, spec: Spec | None) -> None:
        """Raise ``VGGError`` when several replicas would compute batch norm from their own images only.

        They would be a different network.
        """
        if self.group.size > 1 and spec and spec.batch_norm and not self.backend.REPLICAS["batch_norm"]:
            wanted = f"1 with batch norm: {self.backend.__name__} cannot take its statistics over all replicas"
            raise mismatch("--replicas", self.group.size, wanted)


def _claims(backend: Any) -> tuple[str, list[str]]:
    """Return the (level, dtypes) that a module claims. Raises ``VGGError`` when these do not exist."""
    level, dtypes = getattr(backend, "LEVEL", LEVEL), getattr(backend, "DTYPES", DTYPES)
    if level not in LEVELS:
        raise unknown("LEVEL", str(level), LEVELS)
    if isinstance(dtypes, str) or not isinstance(dtypes, Sequence) or not dtypes:
        raise mismatch("DTYPES", repr(dtypes), f"a tuple of one or more of {', '.join(DTYPES)}")
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise unknown("dtype in DTYPES", str(dtype), DTYPES)
    return level, list(dtypes)


def _check_tables(backend: Any) -> None:
    """Raise ``VGGError`` unless the tables that a module declares map texts to what their kind wants."""
    kinds: dict[str, tuple[type, str]] = {
        "DECLARED": (str, "texts"),
        "PRECISIONS": (tuple, "tuples of names"),
        "REPLICAS": (bool, "booleans"),
    }
    for name, (kind, wanted) in kinds.items():
        table = getattr(backend, name, {})
        entries = table.items() if isinstance(table, Mapping) else [(None, None)]
        if not all(isinstance(key, str) and isinstance(value, kind) for key, value in entries):
            raise mismatch(name, shown(table), f"a dict of {wanted} by name")


@contextmanager
def _unchanged(arrays: wire.Arrays) -> Iterator[None]:
    """Raise ``ContractError`` when the block changes an array.

    Otherwise it would be hard to find out that, say, training uses a batch that evaluation has scaled.
    """
    before = {name: array.copy() for name, array in arrays.items()}
    yield
    for name, array in arrays.items():
        if not np.array_equal(array, before[name], equal_nan=True):
            raise mismatch(name, "changed in place", "as it was", "let the backend copy it first", ContractError)


def _arrays(out: Any) -> wire.Arrays:
    """Return ``out`` as a dict. Raises ``ContractError`` unless it maps names to NumPy arrays of numbers."""
    if not isinstance(out, Mapping):
        raise mismatch("result", type(out).__name__, "a dict of NumPy arrays by name", kind=ContractError)
    for name, array in out.items():
        if not isinstance(name, str):
            raise mismatch("result", f"the key {name!r}", "names that are strings", kind=ContractError)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise mismatch(f"result[{name!r}]", kind, "a NumPy array of numbers", kind=ContractError)
    return dict(out)
