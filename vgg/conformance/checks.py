"""The checks: each takes a worker and a case and gives a ``Verdict``; ``compare`` decides, the oracle knows."""

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

from .. import reference
from ..client import Jobs
from ..compare import EXACT, Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..layers import expand
from ..masks import masks
from ..params import load_params, save_params, shapes
from ..pixels import resize_matrix
from ..recipe import Recipe
from ..reference import Mode
from .cases import Array, Arrays, Case

LR = 0.01
SIGMAS = 5


def structure(worker: Jobs, case: Case) -> Verdict:
    """Every row of the layer table, in its order, and every parameter: names, shapes, dtype."""
    worker.build(case.spec, dtype="float32")
    dumped = {name: _blank(array.shape, array.dtype) for name, array in worker.dump().items()}
    wanted = {name: _blank(shape) for name, shape in shapes(case.spec).items()}
    verdict = compare(dumped, wanted, limit=EXACT, dtype="float32")
    if not verdict.ok:
        return verdict
    traced = worker.trace(case.images("float32"))
    rows = {row.name: _blank((case.batch, *row.output_shape)) for row in expand(case.spec)}
    if list(traced) != list(rows):
        return Verdict(math.inf, EXACT, "", f"layers: got {list(traced)}, wanted {list(rows)}")
    seen = {name: _blank(array.shape, array.dtype) for name, array in traced.items()}
    return compare(seen, rows, limit=EXACT, dtype="float32")


def forward(worker: Jobs, case: Case, dtype: str, train: bool) -> Verdict:
    """Every activation, layer by layer; and the model's own forward pass gives what the trace ends with."""
    x = _built(worker, case, dtype)
    traced = worker.trace(x, train=train)
    mode = _mode(worker, case, traced, train)
    wanted = dict(reference.forward(case.spec, case.params(dtype), x, mode).activations)
    last = next(reversed(wanted))
    got = {**traced, "logits of forward()": worker.forward(x, train=train)}
    return compare(
        got, {**wanted, "logits of forward()": wanted[last]}, limit=forward_limit(case.spec, dtype), dtype=dtype
    )


def backward(worker: Jobs, case: Case, dtype: str, train: bool) -> Verdict:
    """The loss and every gradient, last layer first."""
    x, y = _built(worker, case, dtype), case.labels()
    mode = _mode(worker, case, worker.trace(x, train=train) if train else {}, train)
    loss, grads, _ = reference.loss_and_grads(case.spec, case.params(dtype), x, y, mode)
    got_loss, got = worker.loss_and_grads(x, y, train=train)
    wanted = {"loss": np.array(loss)} | dict(reversed(grads.items()))
    limit = gradient_limit(case.spec, dtype, case.batch)
    found = {"loss": np.array(got_loss, dtype), **got}
    return compare(found, wanted, limit=limit, dtype=dtype, floors=gradient_floors(grads))


def round_trip(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """``dump`` gives, bit for bit, what ``load`` took."""
    _built(worker, case, dtype)
    return compare(worker.dump(), case.params(dtype), limit=EXACT, dtype=dtype)


def exchange(source: Jobs, worker: Jobs, case: Case) -> Verdict:
    """A file written from ``source`` gives this backend, whatever it held before, the logits that it gave there."""
    x = _built(source, case, "float64")
    wanted = {"logits": source.forward(x)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_params(path, source.dump(), case.spec)
        worker.build(case.spec, replace(case, seed=1).params("float64"), dtype="float64")
        worker.call("load", load_params(path))
    return compare({"logits": worker.forward(x)}, wanted, limit=forward_limit(case.spec, "float64"))


def modes(worker: Jobs, case: Case) -> Verdict:
    """Eval mode has no dropout and train mode has: inverted, at its rate, each unit and image for itself.

    Rate and correlations stay within ``SIGMAS`` standard errors: a false alarm in 1.7e6 of them, and the generator is
    seeded, so a backend that passes once passes always.
    """
    x = _built(worker, case, "float32")
    evaluated, trained = worker.trace(x), worker.trace(x, train=True)
    for before, row in _dropouts(case):
        if not np.array_equal(evaluated[row], evaluated[before]):
            return _refused(row, "dropout is alive in eval mode")
        alive, kept = trained[before] != 0, trained[row] != 0
        reason = _rate(alive, kept, case.spec.head.dropout) or _dependence(alive, kept)
        if reason:
            return _refused(row, reason)
        scale, wanted = trained[row][kept] / trained[before][kept], 1 / (1 - case.spec.head.dropout)
        if not np.allclose(scale, wanted, rtol=1e-6):
            return _refused(row, f"train mode scales by {np.median(scale):.6f}, wanted {wanted:.6f}")
    return compare(worker.dump(), case.params("float32"), limit=EXACT)


def _rate(alive: Array, kept: Array, rate: float) -> str:
    share, band = np.mean(kept[alive]), SIGMAS * math.sqrt(rate * (1 - rate) / np.count_nonzero(alive))
    return (
        ""
        if abs(share - (1 - rate)) <= band
        else f"keeps {share:.3f} of its units, wanted {1 - rate:.3f} +- {band:.3f}"
    )


def _dependence(alive: Array, kept: Array) -> str:
    """What a unit shares with the next one, and an image with the next one."""
    deviation = np.where(alive, kept - np.mean(kept[alive]), 0.0)
    for axis, what in enumerate(("images", "units")):
        near = deviation * np.roll(deviation, 1, axis=axis)
        both = alive & np.roll(alive, 1, axis=axis)
        correlation = near[both].mean() / np.square(deviation[alive]).mean()
        if not abs(correlation) <= SIGMAS / math.sqrt(np.count_nonzero(both)):
            return f"masks of neighbouring {what} correlate by {correlation:.2f}, wanted 0"
    return ""


def repeatable(worker: Jobs, case: Case) -> Verdict:
    """The same call twice gives the same bits, in train mode too: its masks come from a generator seeded afresh."""
    x, y = _built(worker, case, "float32"), case.labels()
    first, again = (worker.loss_and_grads(x, y, train=True)[1] for _ in range(2))
    worker.forward(x, train=True)
    moved = compare(worker.dump(), case.params("float32"), limit=EXACT)
    return compare(again, first, limit=EXACT, floors=gradient_floors(first)) if moved.ok else moved


def learning(worker: Jobs, case: Case) -> Verdict:
    """The way users train: float32, uint8 pixels of another size. One step, then evaluation, against the oracle."""
    recipe = Recipe(lr=LR, momentum=0.9, mean=0.3, std=0.4)
    weights = {name: array.astype(np.float64) for name, array in case.params("float32").items()}
    worker.build(case.spec, case.params("float32"))
    worker.learner(recipe)
    channels, height, width = case.spec.input_shape
    pixels = np.random.RandomState(0).randint(0, 256, (case.batch, channels, 9, 14)).astype(np.uint8)
    rows, columns = resize_matrix(9, height), resize_matrix(14, width)
    x, y = rows @ ((pixels / 255 - recipe.mean) / recipe.std) @ columns.T, case.labels()
    mode = declared_mode(worker)._replace(masks=masks(case.spec, case.batch, 0, 0))
    loss, grads, tape = reference.loss_and_grads(case.spec, weights, x, y, mode)
    weights, _ = reference.sgd(weights, grads, {n: np.zeros_like(g) for n, g in grads.items()}, lr=LR)
    wanted = reference.forward(case.spec, weights | tape.statistics, x).logits
    got = {
        "loss": np.array(worker.step(pixels, y, LR, masks(case.spec, case.batch, 0, 0))),
        "logits": worker.evaluate(pixels),
    }
    limit = gradient_limit(case.spec, "float32", case.batch)
    return compare(got, {"loss": np.array(loss), "logits": wanted}, limit=limit)


def resuming(worker: Jobs, fresh: Callable[[], AbstractContextManager[Jobs]], case: Case) -> Verdict:
    """Every step draws its own dropout masks, another seed other ones; saved in the middle and loaded in a fresh
    process, training goes on bit for bit.
    """
    x, y = _built(worker, case, "float32"), case.labels()
    worker.learner(Recipe(momentum=0.9, seed=1))
    other = worker.step(x, y, 0.0)
    _built(worker, case, "float32")
    worker.learner(Recipe(momentum=0.9))
    still = [worker.step(x, y, 0.0) for _ in range(3)]
    if len({*still, other}) < 4:
        return _refused("dropout", f"the masks of {len(still)} steps and of another seed are not all different")
    worker.step(x, y, LR)
    middle = worker.state()
    with fresh() as again:
        _built(again, case, "float32")
        again.learner(Recipe(momentum=0.9))
        again.restore(middle)
        (got, resumed), (wanted, straight) = (_two_steps(jobs, x, y) for jobs in (again, worker))
    return compare({"losses": got, **resumed}, {"losses": wanted, **straight}, limit=EXACT)


def _two_steps(worker: Jobs, x: Array, y: Array) -> tuple[Array, Arrays]:
    return np.array([worker.step(x, y, LR) for _ in range(2)]), worker.state()


def _built(worker: Jobs, case: Case, dtype: str) -> Array:
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    return case.images(dtype)


def _blank(shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)


def _mode(worker: Jobs, case: Case, traced: Arrays, train: bool) -> Mode:
    """How the oracle must run to do what the backend did: its dropout masks, its declared statistics."""
    drawn = {}
    for before, row in _dropouts(case) if traced else ():
        inside = np.asarray(traced[before], np.float64)
        drawn[row] = np.divide(traced[row], inside, out=np.ones_like(inside), where=inside != 0)
    return declared_mode(worker)._replace(train=train, masks=drawn)


def declared_mode(worker: Jobs) -> Mode:
    """Train mode with the running statistics that the backend declares."""
    declared = _declared(worker)
    keep = float(np.float32(0.9)) if declared.get("momentum") == "float32" else Mode().keep
    return Mode(train=True, bessel=declared.get("running_var") == "unbiased", keep=keep)


@lru_cache(maxsize=32)
def _declared(worker: Jobs) -> dict[str, str]:
    return dict(worker.facts()["declared"])


def _dropouts(case: Case) -> list[tuple[str, str]]:
    """(the layer before it, the layer) for every dropout."""
    rows = expand(case.spec)
    return [(rows[i - 1].name, row.name) for i, row in enumerate(rows) if row.kind == "dropout"]


def _refused(where: str, reason: str) -> Verdict:
    return Verdict(math.inf, EXACT, where, f"{where}: {reason}")
