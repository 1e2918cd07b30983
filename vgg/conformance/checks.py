"""The checks: each takes a worker and a case and gives a ``Verdict``; ``compare`` decides, the oracle knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..backends import VELOCITY
from ..client import Worker
from ..compare import Verdict, compare, forward_limit, gradient_floors, gradient_limit
from ..layers import expand
from ..params import shapes
from ..pixels import resize_matrix
from ..recipe import Recipe
from ..reference import Mode
from .cases import Array, Arrays, Case

TRAJECTORY_LIMIT = 1e-10
DROPS = {0: 0.01, 10: 0.002}
"""Step -> learning rate from there on: the drop is where MXNet's and Keras' kind of momentum parts from torch's."""


def structure(worker: Worker, case: Case) -> Verdict:
    """Every row of the layer table, in its order, and every parameter: names, shapes, dtype."""
    worker.build(case.spec, dtype="float32")
    dumped = {name: _blank(array.shape, array.dtype) for name, array in worker.dump().items()}
    wanted = {name: _blank(shape) for name, shape in shapes(case.spec).items()}
    verdict = compare(dumped, wanted, limit=0.0, dtype="float32")
    if not verdict.ok:
        return verdict
    traced = worker.trace(case.images("float32"))
    rows = {row.name: _blank((case.batch, *row.output_shape)) for row in expand(case.spec)}
    if list(traced) != list(rows):
        return Verdict(math.inf, 0.0, "", f"layers: got {list(traced)}, wanted {list(rows)}")
    seen = {name: _blank(array.shape, array.dtype) for name, array in traced.items()}
    return compare(seen, rows, limit=0.0, dtype="float32")


def forward(worker: Worker, case: Case, dtype: str, train: bool) -> Verdict:
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


def backward(worker: Worker, case: Case, dtype: str, train: bool) -> Verdict:
    """The loss and every gradient, last layer first."""
    x, y = _built(worker, case, dtype), case.labels()
    mode = _mode(worker, case, worker.trace(x, train=train) if train else {}, train)
    loss, grads, _ = reference.loss_and_grads(case.spec, case.params(dtype), x, y, mode)
    got_loss, got = worker.loss_and_grads(x, y, train=train)
    wanted = {"loss": np.array(loss)} | dict(reversed(grads.items()))
    limit = gradient_limit(case.spec, dtype, case.batch)
    found = {"loss": np.array(got_loss, dtype), **got}
    return compare(found, wanted, limit=limit, dtype=dtype, floors=gradient_floors(grads))


def trajectory(worker: Worker, case: Case, steps: int = 20) -> Verdict:
    """SGD in float64, with momentum, weight decay and a drop of the learning rate: every array of the state."""
    recipe = Recipe(lr=DROPS[0], momentum=0.9, weight_decay=5e-3)
    _built(worker, case, "float64")
    worker.learner(recipe)
    weights: dict[str, NDArray[np.float64]] = {n: a.astype(np.float64) for n, a in case.params("float64").items()}
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    mode = _mode(worker, case, {}, train=True)
    for step in range(steps):
        lr = DROPS[max(start for start in DROPS if start <= step)]
        x, y = _batch(case, step)
        loss, grads, tape = reference.loss_and_grads(case.spec, weights, x, y, mode)
        weights, velocity = reference.sgd(weights, grads, velocity, lr=lr, momentum=0.9, weight_decay=5e-3)
        weights |= tape.statistics
        name = f"loss of step {step}"
        verdict = compare({name: np.array(worker.step(x, y, lr))}, {name: np.array(loss)}, limit=TRAJECTORY_LIMIT)
        if not verdict.ok:
            return verdict
    wanted: Arrays = {**weights, **{VELOCITY + name: v for name, v in velocity.items()}, "step": np.array(steps)}
    return compare(worker.state(), wanted, limit=TRAJECTORY_LIMIT, floors=gradient_floors(velocity, VELOCITY))


def round_trip(worker: Worker, case: Case, dtype: str) -> Verdict:
    """``dump`` gives, bit for bit, what ``load`` took."""
    _built(worker, case, dtype)
    return compare(worker.dump(), case.params(dtype), limit=0.0, dtype=dtype)


def exchange(logits: Mapping[str, Array], worker: Worker, case: Case, params: Arrays) -> Verdict:
    """Parameters from elsewhere give the logits that they gave there."""
    worker.build(case.spec, params, dtype="float64")
    return compare(
        {"logits": worker.forward(case.images("float64"))}, logits, limit=forward_limit(case.spec, "float64")
    )


def modes(worker: Worker, case: Case) -> Verdict:
    """Eval mode has no dropout and train mode has: inverted, at its rate; and neither changes the model."""
    x = _built(worker, case, "float32")
    evaluated, trained = worker.trace(x), worker.trace(x, train=True)
    for before, row in _dropouts(case):
        if not np.array_equal(evaluated[row], evaluated[before]):
            return _refused(row, "dropout is alive in eval mode")
        alive, kept = trained[before] != 0, trained[row] != 0
        if not kept.any():
            return _refused(row, "train mode keeps nothing")
        share, rate = np.mean(kept[alive]), case.spec.head.dropout
        band = 5 * math.sqrt(rate * (1 - rate) / np.count_nonzero(alive))
        if not abs(share - (1 - rate)) <= band:
            return _refused(row, f"train mode keeps {share:.2f}, wanted {1 - rate:.2f} +- {band:.2f}")
        scale = trained[row][kept] / trained[before][kept]
        if not np.allclose(scale, 1 / (1 - rate), rtol=1e-6):
            return _refused(row, f"train mode scales by {np.median(scale):.6f}, wanted {1 / (1 - rate):.6f}")
    return compare(worker.dump(), case.params("float32"), limit=0.0)


def repeatable(worker: Worker, case: Case) -> Verdict:
    """The same call twice gives the same bits, in train mode too: its masks come from a generator seeded afresh."""
    x, y = _built(worker, case, "float32"), case.labels()
    first, again = (worker.loss_and_grads(x, y, train=True)[1] for _ in range(2))
    worker.forward(x, train=True)
    moved = compare(worker.dump(), case.params("float32"), limit=0.0)
    return compare(again, first, limit=0.0, floors=gradient_floors(first)) if moved.ok else moved


def learning(worker: Worker, case: Case) -> Verdict:
    """The way users train: float32, uint8 pixels of another size. One step, then evaluation, against the oracle."""
    recipe = Recipe(lr=DROPS[0], momentum=0.9, mean=0.3, std=0.4)
    weights = {name: array.astype(np.float64) for name, array in case.params("float32").items()}
    worker.build(case.spec, case.params("float32"))
    worker.learner(recipe)
    channels, height, width = case.spec.input_shape
    pixels = np.random.RandomState(0).randint(0, 256, (case.batch, channels, 9, 14)).astype(np.uint8)
    rows, columns = resize_matrix(9, height), resize_matrix(14, width)
    x, y = rows @ ((pixels / 255 - recipe.mean) / recipe.std) @ columns.T, case.labels()
    mode = _mode(worker, case, {}, train=True)
    loss, grads, tape = reference.loss_and_grads(case.spec, weights, x, y, mode)
    weights, _ = reference.sgd(weights, grads, {n: np.zeros_like(g) for n, g in grads.items()}, lr=DROPS[0])
    wanted = reference.forward(case.spec, weights | tape.statistics, x).logits
    got = {"loss": np.array(worker.step(pixels, y, DROPS[0])), "logits": worker.evaluate(pixels)}
    limit = gradient_limit(case.spec, "float32", case.batch)
    return compare(got, {"loss": np.array(loss), "logits": wanted}, limit=limit)


def resuming(worker: Worker, case: Case) -> Verdict:
    """Every step draws its own dropout masks, another seed other ones, and a restored learner the same, bit for bit."""
    x, y = _built(worker, case, "float32"), case.labels()
    worker.learner(Recipe(momentum=0.9))
    start = worker.state()
    still = [worker.step(x, y, 0.0) for _ in range(3)]
    worker.restore(start)
    again = [worker.step(x, y, 0.0) for _ in range(3)]
    if len(set(still)) < len(still):
        return _refused("dropout", f"the masks of {len(still)} steps are not all different")
    _built(worker, case, "float32")
    worker.learner(Recipe(momentum=0.9, seed=1))
    if worker.step(x, y, 0.0) == still[0]:
        return _refused("dropout", "another seed draws the same masks")
    return compare({"losses": np.array(again)}, {"losses": np.array(still)}, limit=0.0)


def _built(worker: Worker, case: Case, dtype: str) -> Array:
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    return case.images(dtype)


def _blank(shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)


def _batch(case: Case, step: int) -> tuple[Array, Array]:
    fresh = Case(case.spec, case.batch, seed=1000 + step)
    return fresh.images("float64"), fresh.labels()


def _mode(worker: Worker, case: Case, traced: Arrays, train: bool) -> Mode:
    """How the oracle must run to do what the backend did: its dropout masks, its declared statistics."""
    masks = {}
    for before, row in _dropouts(case) if traced else ():
        inside = np.asarray(traced[before], np.float64)
        masks[row] = np.divide(traced[row], inside, out=np.ones_like(inside), where=inside != 0)
    declared = _declared(worker)
    keep = float(np.float32(0.9)) if declared.get("momentum") == "float32" else Mode().keep
    return Mode(train, masks, bessel=declared.get("running_var") == "unbiased", keep=keep)


@lru_cache(maxsize=32)
def _declared(worker: Worker) -> dict[str, str]:
    return dict(worker.facts()["declared"])


def _dropouts(case: Case) -> list[tuple[str, str]]:
    """(the layer before it, the layer) for every dropout."""
    rows = expand(case.spec)
    return [(rows[i - 1].name, row.name) for i, row in enumerate(rows) if row.kind == "dropout"]


def _refused(where: str, reason: str) -> Verdict:
    return Verdict(math.inf, 0.0, where, f"{where}: {reason}")
