"""The check ``code``: scripts of ``vgg code``, executed in the backend's environment, give the oracle's numbers.

Every script loads canonical weights by its own lines. LRN is judged in float32, because TensorFlow's stock layer has
no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..core import oracle
from ..core.blocks import Block, Conv, Head, Pool
from ..core.comparator import EXACT, UNDECLARED, Verdict, compare, forward_limit, gradient_limit
from ..core.layers import expand, totals
from ..core.params import save_params
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from . import properties
from .cases import CASES, Array, Arrays, Case
from .cell import Bench, Cell, Judge, Write
from .checks import answers, declared_mode, differentiated, differentiates, dropouts, eval_mode, mode_of, refused, taped
from .courses import prepared
from .sizes import NAMED
from .steps import worst

EXAMPLES = 4
"""The number of random specs; each costs a compilation in JAX."""
LARGE = 20_000_000
"""The number of parameters from which on a user's spec gets no script: its weights would be a file of gigabytes."""
STEPS = 4


def _bare(*blocks: Block, **fields: Any) -> Case:
    return Case(Spec(blocks, classes=fields.pop("classes", 6), **fields), batch=2)


IRREGULAR = {
    "mixed": CASES["mixed"],
    "batch_norm": CASES["batch_norm"],
    "global_pool": CASES["global_pool"],
    "bare": _bare(Block((Conv(3, 5, 2, 0), Conv(4, 5, 2, 0)), None), input_shape=(2, 17, 22), head=Head(())),
    "overlap": _bare(
        Block((Conv(7), Conv(7)), Pool(3, 1)), Block((Conv(5),), None), input_shape=(3, 9, 7), head=Head((11,), 0.25)
    ),
    "one class": _bare(Block((Conv(4, 2, 1, 1),)), classes=1, input_shape=(2, 6, 9), head=Head((5,), 0.0)),
}
"""Nets that take every turn of the templates: kernels, strides and paddings that differ or do not, pools of several
kinds or none, LRN here and there, batch norm, a global pool, no hidden layer, no dropout, one class."""


@dataclass(frozen=True)
class Course:
    """Steps of a script that trains on pixels (N, 1, side, side) of its dataset."""

    case: Case
    recipe: Recipe
    side: int

    def pixels(self, step: int) -> Array:
        """Return the uint8 images of a step."""
        shape = (self.case.batch, 1, self.side, self.side)
        return np.random.RandomState([self.case.seed, step]).randint(0, 256, shape).astype(np.uint8)

    def labels(self, step: int) -> Array:
        """Return the int64 labels of a step."""
        return np.random.RandomState([self.case.seed, step, 1]).randint(0, 10, self.case.batch)


def _course(case: Case, side: int, **fields: Any) -> Course:
    return Course(case, Recipe(lr=0.01, **fields), side)


_PAIRS = ((1, 5),)
_LIKE: dict[str, Any] = {"classes": 11, "head": Head((13,), 0.0)}
COURSES = {
    "resized": _course(
        Case(Spec.from_blocks(_PAIRS, input_shape=(1, 17, 12), batch_norm=True, **_LIKE), batch=5),
        28,
        dataset="fashion-mnist",
        momentum=0.9,
        weight_decay=0.05,
        mean=0.286,
        std=0.353,
    ),
    "plain": _course(Case(Spec.from_blocks(_PAIRS, input_shape=(1, 8, 8), **_LIKE), batch=5), 8, dataset="digits"),
}
"""Courses without dropout, whose masks are each framework's own: with all that a script does of a recipe, and with
none of it."""
_DROPPED = COURSES["plain"].case.spec.modified(dropout=0.5)
DROPOUT = Course(Case(_DROPPED, batch=5), Recipe(lr=1e-9, dataset="digits"), 8)
"""A course at a rate at which no weight moves, so that losses of one batch differ by the masks alone."""


_QUARTER = {"vgg11_narrow": replace(NAMED["vgg11_narrow"], spec=NAMED["vgg11_narrow"].spec.modified(narrow=4))}
"""The chapter's net at a sixteenth of VGG-11's width, like the others: XLA's quick code takes seconds for more."""


def cells(seed: int | None) -> Iterator[tuple[str, Cell]]:
    """Yield the cells: architectures by name, irregular nets, training, dropout, and random specs drawn by ``seed``.

    Batch norm on top of an architecture by name changes one line of a script, so most of these are thorough.
    """
    for name, case in (NAMED | _QUARTER).items():
        dtype, thorough = dtype_of(case.spec), case.spec.batch_norm and name != "vgg11_bn"
        judge = offered(gradients, case, dtype, case.spec.batch_norm)
        yield f"code {name} {dtype}", Cell(judge, "gradients", (dtype,), thorough)
    for name, case in IRREGULAR.items():
        dtype = dtype_of(case.spec)
        yield f"code {name} {dtype}", Cell(offered(whole, case, dtype), "inference", (dtype,))
    for name, course in COURSES.items():
        yield f"code training {name}", Cell(offered(training, course), "training", ("float32",))
    yield "code training dropout", Cell(offered(dropout, DROPOUT), "training", ("float32",))
    dtypes = ("float64", "float32")
    yield "code drawn", Cell(_drawn(EXAMPLES, seed), "inference", dtypes)
    yield "code drawn thorough", Cell(_drawn(10 * EXAMPLES, seed), "inference", dtypes, thorough=True)


def given(spec: Spec) -> Iterator[tuple[str, Judge]]:
    """Yield the judge of a script for a user's spec, unless it is large."""
    if totals(expand(spec)).params < LARGE:
        yield dtype_of(spec), lambda bench: _judge(bench, spec) if bench.script(spec) else _NONE


def dtype_of(spec: Spec) -> str:
    """Return the dtype in which scripts of ``spec`` are judged: float32 with LRN, otherwise float64."""
    return "float32" if any(conv.lrn for block in spec.blocks for conv in block.convs) else "float64"


def offered(check: Callable[..., Verdict], *arguments: object) -> Judge:
    """Return a judge that calls ``check`` with the worker, the writer of scripts and ``arguments``.

    Of a backend that offers no code it asks nothing.
    """
    return lambda bench: check(bench.worker(), bench.script, *arguments) if bench.script(_TINY) else _NONE


_TINY = Spec.from_blocks(((1, 2),), input_shape=(1, 2, 2), classes=2, head=Head(()))
_NONE = Verdict(0.0, UNDECLARED, "vgg code has no template of it")


def executed(worker: Jobs, write: Write, case: Case, dtype: str, recipe: Recipe | None = None) -> None:
    """Let ``worker`` execute the script of a case, which loads the case's parameters from a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_params(path, case.params(dtype), case.spec)
        worker.script(str(write(case.spec, recipe=recipe, weights=path)), case.spec, dtype=dtype)


def whole(worker: Jobs, write: Write, case: Case, dtype: str) -> Verdict:
    """Judge activations in eval mode, and gradients in train mode if they are claimed."""
    still = activations(worker, write, case, dtype)
    return worst([still, _gradients(worker, case, dtype, train=True)]) if differentiates(worker) else still


def activations(worker: Jobs, write: Write, case: Case, dtype: str) -> Verdict:
    """Judge every activation in eval mode that the script's model shows."""
    executed(worker, write, case, dtype)
    traced = worker.trace(case.images(dtype))
    wanted = properties.shown(case.spec, traced, taped(case, dtype, eval_mode(worker)).activations)
    return compare(traced, wanted, limit=forward_limit(case.spec, dtype), dtype=dtype)


def gradients(worker: Jobs, write: Write, case: Case, dtype: str, train: bool) -> Verdict:
    """Judge the loss and every gradient."""
    executed(worker, write, case, dtype)
    return _gradients(worker, case, dtype, train=train)


def _gradients(worker: Jobs, case: Case, dtype: str, *, train: bool) -> Verdict:
    x, y = case.images(dtype), case.labels()
    traced = worker.trace(x, train=True) if train and dropouts(case) else {}
    for before, _ in dropouts(case) if traced else ():
        traced.setdefault(before, np.maximum(traced[before.removesuffix(".relu")], 0))
    wanted = answers(case, dtype, mode_of(worker, case, traced, train))
    return differentiated(case, dtype, worker.loss_and_grads(x, y, train=train), *wanted)


def training(worker: Jobs, write: Write, course: Course) -> Verdict:
    """Judge the losses of the script's own steps on pixels, and the parameters after them."""
    case, recipe = course.case, course.recipe
    executed(worker, write, case, "float32", recipe)
    weights: Arrays = {name: array.astype(np.float64) for name, array in case.params("float32").items()}
    velocity = {name: np.zeros_like(a) for name, a in weights.items() if "running_" not in name}
    rates, losses = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}, []
    for step in range(STEPS):
        x, y = prepared(course.pixels(step), recipe, case.spec), course.labels(step)
        loss, grads, tape = oracle.loss_and_grads(case.spec, weights, x, y, declared_mode(worker))
        weights, velocity = oracle.sgd(weights, grads, velocity, lr=recipe.lr, **rates)
        weights |= tape.statistics
        losses.append(loss)
    got = np.array([worker.step(course.pixels(step), course.labels(step), recipe.lr) for step in range(STEPS)])
    limit = gradient_limit(case.spec, "float32", case.batch)
    return compare({"losses": got, **worker.dump()}, {"losses": np.array(losses), **weights}, limit=limit)


def dropout(worker: Jobs, write: Write, course: Course) -> Verdict:
    """Judge whether dropout is on when the script trains: losses of one batch differ from each other and from none."""
    case, recipe, x, y = course.case, course.recipe, course.pixels(0), course.labels(0)
    executed(worker, write, case, "float32", recipe)
    without, *_ = oracle.loss_and_grads(case.spec, case.params("float32"), prepared(x, recipe, case.spec), y)
    losses = sorted([without, *(worker.step(x, y, recipe.lr) for _ in range(3))])
    if np.diff(losses).min() > gradient_limit(case.spec, "float32", case.batch) * without:
        return Verdict(0.0, EXACT)
    return refused("dropout", f"losses {losses}, one of them without dropout, wanted four that differ")


def _drawn(examples: int, seed: int | None) -> Judge:
    def judge(bench: Bench) -> Verdict:
        if not bench.script(_TINY):
            return _NONE
        return properties.properties(bench.worker, examples, "float64", seed, lambda spec: _random(bench, spec))

    return judge


def _random(bench: Bench, spec: Spec) -> tuple[Verdict, bool]:
    """Judge the script of a spec in eval mode; see ``properties.judged``."""
    worker, dtype = bench.worker(), dtype_of(spec)
    return properties.judged(worker, spec, dtype, lambda case: executed(worker, bench.script, case, dtype))


def _judge(bench: Bench, spec: Spec) -> Verdict:
    return _random(bench, spec)[0]
