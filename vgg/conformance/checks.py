"""The checks. Each takes a worker and a case, compares results with the oracle's, and returns a ``Verdict``."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM
from ..core.comparator import EXACT, Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..core.errors import VGGError, mismatch, unknown
from ..core.layers import expand, totals
from ..core.masks import masks
from ..core.oracle import Mode, Tape
from ..core.params import load_params, save_params, shapes
from ..core.recipe import Recipe
from ..core.resize import resize_matrix
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .exact import unrounded

LR = 0.01
DECLARATIONS = {
    "running_var": ("population", "unbiased"),
    "momentum": ("float64", "float32"),
    "epsilon": ("float64", "float32"),
    "dropout": ("float64", "float32"),
    "denormals": ("kept", "flushed"),
    "nan": ("propagated", "swallowed"),
}
"""What a backend may declare. The first value of each is the default, and need not be declared."""


AMISS = (VGGError, ArithmeticError, LookupError, TypeError, ValueError)
"""The exceptions that a check raises on results that it cannot read."""


def structure(worker: Jobs, case: Case) -> Verdict:
    """Judge the rows of the layer table, in their order, and the parameters: names, shapes and dtype."""
    dtype = narrow(worker)
    worker.build(case.spec, dtype=dtype)
    dumped = {name: _blank(array.shape, array.dtype) for name, array in worker.dump().items()}
    wanted = {name: _blank(shape) for name, shape in shapes(case.spec).items()}
    verdict = compare(dumped, wanted, limit=EXACT, dtype=dtype)
    if not verdict.ok:
        return verdict
    traced = worker.trace(case.images(dtype))
    rows = {row.name: _blank((case.batch, *row.output_shape)) for row in expand(case.spec)}
    if list(traced) != list(rows):
        return Verdict(math.inf, EXACT, "", f"layers: got {list(traced)}, wanted {list(rows)}")
    outputs = {name: _blank(array.shape, array.dtype) for name, array in traced.items()}
    return compare(outputs, rows, limit=EXACT, dtype=dtype)


def differentiates(worker: Jobs) -> bool:
    """Return whether the backend claims train mode and gradients."""
    return bool(worker.facts()["level"] != "inference")


def narrow(worker: Jobs) -> str:
    """Return ``float32``, or ``float64`` if the backend claims no other dtype."""
    return "float32" if "float32" in worker.facts()["dtypes"] else "float64"


def forward(worker: Jobs, case: Case, dtype: str, train: bool) -> Verdict:
    """Judge every activation, layer by layer.

    The logits of ``forward`` must be those at the end of the trace, and layers that round nothing must be exact.
    """
    x = built(worker, case, dtype)
    traced = worker.trace(x, train=train)
    wanted = dict(taped(case, dtype, mode_of(worker, case, traced, train)).activations)
    last = next(reversed(wanted))
    got = {**traced, "logits of forward()": worker.forward(x, train=train)}
    verdict = compare(
        got, {**wanted, "logits of forward()": wanted[last]}, limit=forward_limit(case.spec, dtype), dtype=dtype
    )
    exact = unrounded(case.spec, traced, train=train) if verdict.ok else verdict
    return verdict if exact.ok else exact


def backward(worker: Jobs, case: Case, dtype: str, train: bool) -> Verdict:
    """Judge the loss and every gradient, last layer first."""
    x, y = built(worker, case, dtype), case.labels()
    traced = worker.trace(x, train=train) if train and dropouts(case) else {}
    wanted = answers(case, dtype, mode_of(worker, case, traced, train))
    return differentiated(case, dtype, worker.loss_and_grads(x, y, train=train), *wanted)


def differentiated(case: Case, dtype: str, got: tuple[float, Arrays], loss: float, grads: Arrays) -> Verdict:
    """Compare a backend's loss and gradients with the oracle's ``loss`` and ``grads``."""
    wanted = {"loss": np.array(loss)} | dict(reversed(grads.items()))
    limit = gradient_limit(case.spec, dtype, case.batch)
    named = {"loss": np.array(got[0], dtype), **got[1]}
    return compare(named, wanted, limit=limit, dtype=dtype, floors=gradient_floors(grads))


def taped(case: Case, dtype: str, mode: Mode) -> Tape:
    """Return the oracle's forward pass on a case. Without dropout masks it is cached for other cells and backends."""
    return _taped(case, dtype, *mode) if _kept(case, mode) else _forward(case, dtype, mode)


def answers(case: Case, dtype: str, mode: Mode) -> tuple[float, Arrays]:
    """Return the oracle's loss and gradients for a case, cached in the same way."""
    return _answered(case, dtype, *mode) if _kept(case, mode) else _backward(case, dtype, taped(case, dtype, mode))


def _kept(case: Case, mode: Mode) -> bool:
    """Return whether to cache results. Those of real nets would take gigabytes."""
    return not mode.masks and totals(expand(case.spec)).params < 20_000_000


@lru_cache(maxsize=128)
def _taped(case: Case, dtype: str, *mode: Any) -> Tape:
    return _forward(case, dtype, Mode(*mode))


@lru_cache(maxsize=128)
def _answered(case: Case, dtype: str, *mode: Any) -> tuple[float, Arrays]:
    return _backward(case, dtype, _taped(case, dtype, *mode))


def _forward(case: Case, dtype: str, mode: Mode) -> Tape:
    return oracle.forward(case.spec, case.params(dtype), case.images(dtype), mode)


def _backward(case: Case, dtype: str, tape: Tape) -> tuple[float, Arrays]:
    return oracle.backward(case.spec, case.params(dtype), tape, case.labels())


def round_trip(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge whether ``dump`` returns bit for bit what ``load`` got."""
    built(worker, case, dtype)
    return compare(worker.dump(), case.params(dtype), limit=EXACT, dtype=dtype)


def written(source: Jobs, case: Case, dtype: str) -> Arrays:
    """Return the weights that ``source`` dumps in ``dtype``; raise ``VGGError`` if they or its logits are wrong."""
    x, params = built(source, case, dtype), case.params(dtype)
    dumped, logits = source.dump(), source.forward(x)
    wanted = {**params, "logits": _logits(source, case, params, x)}
    verdict = compare({**dumped, "logits": logits}, wanted, limit=forward_limit(case.spec, dtype), dtype=dtype)
    if not verdict.ok:
        raise VGGError(verdict.reason)
    return dumped


def exchange(worker: Jobs, weights: Arrays, case: Case, dtype: str) -> Verdict:
    """Judge whether a file of another backend's weights gives the oracle's logits, whatever the model held before."""
    worker.build(case.spec, replace(case, seed=1).params(dtype), dtype=dtype)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_params(path, weights, case.spec)
        worker.call("load", load_params(path))
    x = case.images(dtype)
    wanted = {"logits": _logits(worker, case, weights, x)}
    return compare({"logits": worker.forward(x)}, wanted, limit=forward_limit(case.spec, dtype), dtype=dtype)


def _logits(worker: Jobs, case: Case, weights: Arrays, x: Array) -> Array:
    """Return the oracle's logits in eval mode, with the batch norm that the backend declares."""
    return oracle.forward(case.spec, weights, x, eval_mode(worker)).logits


def repeatable(worker: Jobs, case: Case) -> Verdict:
    """Judge whether the same call gives the same bits twice, and whether two learners' same three steps do.

    This holds in train mode too, because its masks come from a generator that is seeded anew.
    """
    dtype = narrow(worker)
    x, y = built(worker, case, dtype), case.labels()
    first, again = (_call(worker, x, y) for _ in range(2))
    moved = compare(worker.dump(), case.params(dtype), limit=EXACT)
    if not moved.ok:
        return moved
    called = alike(worker, case, again, first)
    return alike(worker, case, *(_steps(worker, case) for _ in range(2))) if called.ok else called


def alike(worker: Jobs, case: Case, got: Arrays, wanted: Arrays) -> Verdict:
    """Compare bit for bit; on a GPU within rounding, because GPUs add in no fixed order.

    There the floors of gradients apply: what a batch norm subtracts again is nothing but rounding.
    """
    if worker.place(Recipe()) == "cpu":
        return compare(got, wanted, limit=EXACT)
    grads = {name: a for name, a in wanted.items() if name.startswith(VELOCITY)} or wanted
    limit = gradient_limit(case.spec, "float32", case.batch)
    return compare(got, wanted, limit=limit, floors=gradient_floors(grads))


def steady(worker: Jobs, case: Case) -> Verdict:
    """Judge whether two learners take the same four steps from one state, bit for bit."""
    return alike(worker, case, *(_steps(worker, case, 4) for _ in range(2)))


def _steps(worker: Jobs, case: Case, count: int = 3) -> Arrays:
    """Return the losses of ``count`` steps and the learner's state after them.

    There are at least three steps, because what changes from step to step may do so by turns.
    """
    x = _ready(worker, case)
    losses = [worker.step(x, case.labels(), LR) for _ in range(count)]
    return {"losses": np.array(losses), **worker.state()}


def _call(worker: Jobs, x: Array, y: Array) -> Arrays:
    """Return all results of calls in train mode."""
    loss, grads = worker.loss_and_grads(x, y, train=True)
    return {"loss": np.array(loss), **grads, "logits": worker.forward(x, train=True), **worker.trace(x, train=True)}


def learning(
    worker: Jobs, case: Case, momentum: float, sides: tuple[int, int] = (9, 70), dtype: str = "float32"
) -> Verdict:
    """Judge a step on uint8 pixels (N, C, *sides), as users train, and an evaluation: loss, whole state and logits.

    Without momentum velocities are unused and may hold anything.
    """
    recipe = Recipe(lr=LR, momentum=momentum, mean=0.3, std=0.4, precision=dtype)
    weights = {name: array.astype(np.float64) for name, array in case.params(dtype).items()}
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    worker.learner(recipe)
    channels, *wanted_sides = case.spec.input_shape
    pixels = np.random.RandomState(0).randint(0, 256, (case.batch, channels, *sides)).astype(np.uint8)
    rows, columns = (resize_matrix(*pair) for pair in zip(sides, wanted_sides, strict=True))
    x, y = rows @ ((pixels / 255 - recipe.mean) / recipe.std) @ columns.T, case.labels()
    neutral = masks(case.spec, case.batch, 0, 0)
    mode = declared_mode(worker)._replace(masks=neutral)
    loss, grads, tape = oracle.loss_and_grads(case.spec, weights, x, y, mode)
    still = {name: np.zeros_like(g) for name, g in grads.items()}
    weights, velocity = oracle.sgd(weights, grads, still, lr=LR, momentum=momentum)
    weights |= tape.statistics
    moving = {VELOCITY + name: v for name, v in velocity.items()} if momentum else {}
    wanted = {"loss": np.array(loss), **moving, **weights}
    wanted["logits"] = _logits(worker, case, weights, x)
    step = np.array(worker.step(pixels, y, LR, neutral), dtype)
    got = {"loss": step, **worker.state(), "logits": worker.evaluate(pixels)}
    compared, floors = {n: a for n, a in got.items() if n in wanted}, gradient_floors(moving)
    limit = gradient_limit(case.spec, dtype, case.batch)
    return compare(compared, wanted, limit=limit, dtype=dtype, floors=floors)


def resuming(worker: Jobs, fresh: Callable[[], AbstractContextManager[Jobs]], case: Case) -> Verdict:
    """Judge dropout masks, which must differ between steps and between seeds, then resumed training.

    Training that is saved in the middle and loaded in a new process must go on bit for bit.
    """
    x, y = _ready(worker, case, seed=1), case.labels()
    other = worker.step(x, y, 0.0)
    _ready(worker, case)
    still = [worker.step(x, y, 0.0) for _ in range(3)]
    if len({*still, other}) < 4:
        return refused("dropout", f"the masks of {len(still)} steps and of another seed are not all different")
    return _resumed(worker, fresh, case)


def resumable(worker: Jobs, fresh: Callable[[], AbstractContextManager[Jobs]], case: Case) -> Verdict:
    """Judge whether training goes on bit for bit if it is saved in the middle and loaded in a new process."""
    _ready(worker, case)
    return _resumed(worker, fresh, case)


def _ready(worker: Jobs, case: Case, seed: int = 0) -> Array:
    """Make a new learner of the case; return the case's images (N, C, H, W)."""
    dtype = narrow(worker)
    x = built(worker, case, dtype)
    worker.learner(Recipe(momentum=0.9, seed=seed, precision=dtype))
    return x


def _resumed(worker: Jobs, fresh: Callable[[], AbstractContextManager[Jobs]], case: Case) -> Verdict:
    """Take a step with the present learner, then two more with it and with one in a new process; compare these."""
    x, y = case.images(narrow(worker)), case.labels()
    worker.step(x, y, LR)
    middle = worker.state()
    with fresh() as again:
        _ready(again, case)
        again.restore(middle)
        (losses_again, resumed), (losses, straight) = (_two_steps(jobs, x, y) for jobs in (again, worker))
    return alike(worker, case, {"losses": losses_again, **resumed}, {"losses": losses, **straight})


def _two_steps(worker: Jobs, x: Array, y: Array) -> tuple[Array, Arrays]:
    return np.array([worker.step(x, y, LR) for _ in range(2)]), worker.state()


def built(worker: Jobs, case: Case, dtype: str) -> Array:
    """Build the case's model with its parameters; return its images (N, C, H, W)."""
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    return case.images(dtype)


def _blank(shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)


def mode_of(worker: Jobs, case: Case, traced: Arrays, train: bool) -> Mode:
    """Return the oracle's mode for what the backend did: its dropout masks and the batch norm that it declares."""
    masks_seen = {row: seen_mask(traced, before, row, unseen=1.0) for before, row in dropouts(case) if train}
    return declared_mode(worker)._replace(train=train, masks=masks_seen or None)


def seen_mask(traced: Arrays, before: str, row: str, unseen: float) -> Array:
    """Return the factors of a dropout layer, in float64; ``unseen`` where its input was zero, which shows none."""
    inside = np.asarray(traced[before], np.float64)
    return np.divide(traced[row], inside, out=np.full_like(inside, unseen), where=inside != 0)


def declared(worker: Jobs) -> dict[str, str]:
    """Return the backend's value of each of ``DECLARATIONS``; raise ``VGGError`` if it declares anything else."""
    for name, value in worker.declared.items():
        if name not in DECLARATIONS:
            raise unknown("key of DECLARED", name, DECLARATIONS)
        if value not in DECLARATIONS[name]:
            raise mismatch(f"DECLARED[{name!r}]", repr(value), " or ".join(DECLARATIONS[name]))
    return {name: values[0] for name, values in DECLARATIONS.items()} | worker.declared


def declared_mode(worker: Jobs) -> Mode:
    """Return train mode with the batch norm that the backend declares."""
    declarations = declared(worker)
    keep, epsilon = (
        _in_dtype(BATCH_NORM_MOMENTUM, declarations["momentum"]),
        _in_dtype(BATCH_NORM_EPSILON, declarations["epsilon"]),
    )
    return Mode(train=True, bessel=declarations["running_var"] == "unbiased", keep=keep, epsilon=epsilon)


def eval_mode(worker: Jobs) -> Mode:
    """Return eval mode with the batch norm that the backend declares."""
    return declared_mode(worker)._replace(train=False)


def _in_dtype(number: float, dtype: str) -> float:
    """Return ``number``, rounded to float32 if ``dtype`` is that."""
    return float(np.float32(number)) if dtype == "float32" else number


def swallows(worker: Jobs) -> bool:
    """Return whether the backend declares that NaN may be lost in a ReLU or a max-pool."""
    return declared(worker)["nan"] == "swallowed"


def dropout_scale(dtype: str, rate: float) -> float:
    """Return dropout's factor 1 / (1 - rate), computed in float32 if ``dtype`` is that, else in float64."""
    return float(np.float32(1) / (np.float32(1) - np.float32(rate))) if dtype == "float32" else 1 / (1 - rate)


def scale_roundings(rate: float) -> float:
    """Return by how many roundoffs 1 / (1 - rate) may be off.

    The rate rounds, which the difference magnifies, and so do the difference and the quotient.
    """
    return 2 + rate / (1 - rate)


def dropouts(case: Case) -> list[tuple[str, str]]:
    """Return (name of the layer before it, its own name) for every dropout layer."""
    rows = expand(case.spec)
    return [(rows[i - 1].name, row.name) for i, row in enumerate(rows) if row.kind == "dropout"]


def refused(where: str, reason: str) -> Verdict:
    """Return a failure that no number measures."""
    return Verdict(math.inf, EXACT, where, f"{where}: {reason}")
