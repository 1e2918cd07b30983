"""Declared differences as facts: what a backend says it does, beside what it is measured to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import oracle
from ..core.blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_BETA, LRN_K, LRN_SIZE, Block, Conv, Head, Pool
from ..core.comparator import EXACT, FLOAT64_LIMIT, Verdict, compare
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import CASES, DROPOUT, TRAJECTORIES, Array, Arrays, Case
from .checks import AMISS, DECLARATIONS, built, declared, declared_mode, dropout_scale, seen_mask

NOT_CLAIMED = "not claimed"


class Fact(NamedTuple):
    """What was measured, in words and as a relative size; what is wrong with it (nothing: an empty text), and whether
    that is known.
    """

    text: str
    size: float
    wrong: str = ""
    known: bool = False

    @property
    def outcome(self) -> str:
        """In the words of the matrix."""
        if self.text == NOT_CLAIMED:
            return NOT_CLAIMED
        if self.wrong:
            return "known failure" if self.known else "failed"
        return "unexpected pass" if self.known else "passed"

    def verdict(self) -> Verdict:
        """A failure only where the measurement contradicts the declaration."""
        return Verdict(math.inf if self.wrong else 0.0, EXACT, "", self.wrong)


def measured(fact: Callable[[Jobs], Fact], worker: Callable[[], Jobs]) -> Fact:
    """The fact; where there is none, as of a backend that raises, why."""
    try:
        return fact(worker())
    except AMISS as error:
        return Fact("not measured", math.inf, str(error))


def running_variance(worker: Jobs) -> Fact:
    """Divided by n (population) or by n - 1 (unbiased); the size is the distance from the former, here."""
    new, exact = _after_a_step(worker, "running_var")
    keep = declared_mode(worker).keep
    kinds = {
        said: _statistic("running_var", bessel=said == "unbiased", keep=keep) for said in DECLARATIONS["running_var"]
    }
    return _nearest(kinds, new, exact, declared(worker)["running_var"])


def epsilon(worker: Jobs) -> Fact:
    """Batch norm's 1e-5 in the model's float64, or rounded to float32: beside variances of 1e-7, in eval mode, and in
    train mode of a backend that claims it.
    """
    modes = (False,) if worker.facts()["level"] == "inference" else (False, True)
    rounded = float(np.float32(BATCH_NORM_EPSILON))
    kinds = {"float64": _faintly(modes), "float32": _faintly(modes, epsilon=rounded)}
    worker.build(_FAINT.spec, _faint(), dtype="float64")
    x = _FAINT.images("float64")
    normal = np.stack([worker.trace(x, train=train)["block1.bn1"] for train in modes])
    return _nearest(kinds, normal, kinds["float64"], declared(worker)["epsilon"])


def statistics_momentum(worker: Jobs) -> Fact:
    """Batch norm's 0.9 in the model's float64, or rounded to float32."""
    new, exact = _after_a_step(worker, "running_mean")
    kinds = {"float64": exact, "float32": _statistic("running_mean", keep=float(np.float32(BATCH_NORM_MOMENTUM)))}
    return _nearest(kinds, new, exact, declared(worker)["momentum"])


def dropouts_scale(worker: Jobs) -> Fact:
    """1 / (1 - rate) in the model's float64, or rounded to float32."""
    case = DROPOUT
    traced = worker.trace(built(worker, case, "float64"), train=True)
    mask = seen_mask(traced, "fc1.relu", "fc1.dropout", unseen=0.0)
    kinds = {said: np.array(dropout_scale(said, case.spec.head.dropout)) for said in DECLARATIONS["dropout"]}
    return _nearest(kinds, mask.max(), kinds["float64"], declared(worker)["dropout"])


def ties(worker: Jobs) -> Fact:
    """Who gets the gradient of a max-pool over two equal values made of different inputs.

    Above zero only: after ReLU a tie at zero passes nothing on.
    """
    spec = Spec((Block((Conv(1, 1, 1, 0),), Pool(2, 2)),), input_shape=(2, 2, 2), classes=2, head=Head(()))
    one, other = np.array([1.0, 4.0]), np.array([2.0, 3.0])
    x = np.zeros((1, 2, 2, 2))
    x[0, :, 0] = np.stack([one, other], axis=1)
    params = {
        "block1.conv1.weight": np.ones((1, 2, 1, 1)),
        "block1.conv1.bias": np.zeros(1),
        "fc1.weight": np.array([[1.0], [-1.0]]),
        "fc1.bias": np.zeros(2),
    }
    worker.build(spec, params, dtype="float64")
    y, name = np.array([0]), "block1.conv1.weight"
    got = worker.loss_and_grads(x, y)[1][name].ravel()
    first = oracle.loss_and_grads(spec, params, x, y)[1][name].ravel()
    parts = {"first": one, "last": other, "shared": (one + other) / 2, "both": one + other}
    kinds = {kind: first / one * part for kind, part in parts.items()}
    return _nearest(kinds, got, first, None)


def lrn(worker: Jobs) -> Fact:
    """AlexNet's alpha as it stands, or divided by the window, as torch's layer does by itself."""
    case = CASES["mixed"]
    params, x = case.params("float64"), case.images("float64")
    worker.build(case.spec, params, dtype="float64")
    tape = oracle.forward(case.spec, params, x).activations
    relu, wanted = tape["block1.relu1"], tape["block1.lrn1"]
    ratio = np.divide(wanted, relu, out=np.ones_like(relu), where=relu > 0)
    grown = ratio ** (-1 / LRN_BETA) - LRN_K  # alpha times the sum of squares
    kinds = {"undivided": wanted, "divided": relu * (LRN_K + grown / LRN_SIZE) ** -LRN_BETA}
    fact = _nearest(kinds, worker.trace(x)["block1.lrn1"], wanted, None)
    wrong = "measured divided, wanted undivided: no backend may declare another" if fact.text == "divided" else ""
    return fact._replace(wrong=fact.wrong or wrong)


def not_a_number(worker: Jobs) -> Fact:
    """Whether NaN comes out of a ReLU and a max-pool in float32; the size is the share that does not."""
    case = CASES["plain"]
    params = case.params("float32")
    params["block1.conv1.weight"][0] = np.nan
    worker.build(case.spec, params)
    pooled = worker.trace(case.images("float32"))["block1.pool"][:, 0]
    lost = 1 - float(np.isnan(pooled).mean())
    kind, said = "swallowed" if lost else "propagated", declared(worker)["nan"]
    return Fact(kind, lost, "" if kind == said else f"measured {kind}, wanted {said}")


def denormals(worker: Jobs) -> Fact:
    """Numbers below the smallest normal one, kept or flushed to zero: what comes in, and what a product makes."""
    lost = [dtype for dtype in ("float64", "float32") if _flushes(worker, dtype)]
    said, kind = declared(worker)["denormals"], "flushed" if lost else "kept"
    wrong = "" if said == kind else f"DECLARED says {said}, measured {kind}"
    return Fact(" and ".join(["flushed in " + lost[0], *lost[1:]]) if lost else kind, float(bool(lost)), wrong)


def _flushes(worker: Jobs, dtype: str) -> bool:
    """Whether any of them is lost on its way through a convolution, a ReLU and a dense layer."""
    spec = Spec((Block((Conv(1, 1, 1, 0),), None),), input_shape=(1, 4, 4), classes=16, head=Head(()))
    tiny = float(np.finfo(dtype).tiny)
    params = {
        "block1.conv1.weight": np.full((1, 1, 1, 1), 0.5, dtype),
        "block1.conv1.bias": np.zeros(1, dtype),
        "fc1.weight": np.eye(16, dtype=dtype),
        "fc1.bias": np.zeros(16, dtype),
    }
    worker.build(spec, params, dtype=dtype)
    x = np.stack([np.full((1, 4, 4), value, dtype) for value in (tiny / 4, tiny * 1.5)])
    return not np.array_equal(worker.forward(x), x.reshape(2, 16) / 2)


FACTS = {
    "running variance": running_variance,
    "momentum of statistics": statistics_momentum,
    "epsilon of batch norm": epsilon,
    "scale of dropout": dropouts_scale,
    "ties": ties,
    "lrn": lrn,
    "nan": not_a_number,
    "denormals": denormals,
}


NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "running variance": ("training", ("float64",)),
    "momentum of statistics": ("training", ("float64",)),
    "ties": ("gradients", ("float64",)),
    "scale of dropout": ("gradients", ("float64",)),
    "nan": ("inference", ("float32",)),
    "denormals": ("inference", ("float64", "float32")),
}
"""The level and the dtypes that a backend must claim to be measured; other facts need inference in float64."""


def needs(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the level and the dtypes that a backend must claim for the fact of that name."""
    return NEEDS.get(name, ("inference", ("float64",)))


_FAINT = Case(
    Spec((Block((Conv(3),)),), input_shape=(2, 6, 7), classes=3, head=Head(()), batch_norm=True, name="faint")
)
"""A batch norm right behind the images, with variances that do not hide epsilon."""


def _faint() -> Arrays:
    """Its parameters: a convolution whose output varies by 1e-7, and running variances of as much."""
    params = _FAINT.params("float64")
    params["block1.conv1.weight"] *= 1e-4
    params["block1.bn1.running_var"] *= 1e-7
    return params


def _faintly(modes: Sequence[bool], **mode: Any) -> Array:
    """(modes, N, C, H, W): the oracle's batch norm in eval mode (False) and in train mode (True)."""
    x, params, eval_ = _FAINT.images("float64"), _faint(), oracle.Mode()._replace(**mode)
    tapes = [oracle.forward(_FAINT.spec, params, x, eval_._replace(train=train)) for train in modes]
    return np.stack([tape.activations["block1.bn1"] for tape in tapes])


def _after_a_step(worker: Jobs, part: str) -> tuple[Array, Array]:
    """The statistic that the backend has after one step from the case's start, and the oracle's."""
    case = TRAJECTORIES["batch_norm"]
    worker.build(case.spec, case.params("float64"), dtype="float64")
    worker.learner(Recipe(precision="float64"))
    worker.step(case.images("float64"), case.labels(), 0.0)
    return worker.state()[f"block3.bn2.{part}"], _statistic(part)


def _statistic(part: str, **mode: Any) -> Array:
    case = TRAJECTORIES["batch_norm"]
    chosen = oracle.Mode(train=True)._replace(**mode)
    tape = oracle.forward(case.spec.modified(dropout=0), case.params("float64"), case.images("float64"), chosen)
    return tape.statistics[f"block3.bn2.{part}"]


def _nearest(kinds: dict[str, Array], got: Array, common: Array, wanted: str | None) -> Fact:
    """Which of ``kinds`` the backend does, and how far that is from what is common."""
    found = {name: compare({"": got}, {"": array}, limit=FLOAT64_LIMIT) for name, array in kinds.items()}
    kind = min(found, key=lambda name: found[name].error)
    size = compare({"": got}, {"": common}, limit=math.inf).error
    said = f"DECLARED says {wanted}, " if wanted else ""
    if not found[kind].ok:
        return Fact("none", size, f"{said}measured none of {', '.join(kinds)}{found[kind].reason}")
    wrong = "" if wanted in (None, kind) else f"{said}measured {kind}"
    return Fact(kind, size, wrong)
