"""Declared differences as facts: what a backend declares, beside what it is measured to do."""

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
from .tally import fact_outcome


class Fact(NamedTuple):
    """What was measured.

    ``text`` is the result in words, ``size`` its relative size, ``wrong`` what is wrong with it (an empty text if
    nothing is), and ``known`` whether that failure is known.
    """

    text: str
    size: float
    wrong: str = ""
    known: bool = False

    @property
    def outcome(self) -> str:
        """The outcome, in the words of the matrix."""
        return fact_outcome(self.text, self.wrong, known=self.known)

    def verdict(self) -> Verdict:
        """Return a verdict that fails only if the measurement contradicts the declaration."""
        return Verdict(math.inf if self.wrong else 0.0, EXACT, "", self.wrong)


def measured(fact: Callable[[Jobs], Fact], worker: Callable[[], Jobs]) -> Fact:
    """Return the fact; if it cannot be measured, as when the backend raises, one that says why."""
    try:
        return fact(worker())
    except AMISS as error:
        return Fact("not measured", math.inf, str(error))


def running_variance(worker: Jobs) -> Fact:
    """Measure whether the running variance divides by n (population) or n - 1 (unbiased); the size is relative to n."""
    new, exact = _after_a_step(worker, "running_var")
    keep = declared_mode(worker).keep
    kinds = {
        kind: _statistic("running_var", bessel=kind == "unbiased", keep=keep) for kind in DECLARATIONS["running_var"]
    }
    return _nearest(kinds, new, exact, declared(worker)["running_var"])


def epsilon(worker: Jobs) -> Fact:
    """Measure whether batch norm's epsilon, 1e-5, has the model's float64 or is rounded to float32.

    The variances are about 1e-7. The mode is eval mode, and also train mode if the backend claims it.
    """
    modes = (False,) if worker.facts()["level"] == "inference" else (False, True)
    rounded = float(np.float32(BATCH_NORM_EPSILON))
    kinds = {"float64": _faintly(modes), "float32": _faintly(modes, epsilon=rounded)}
    worker.build(_FAINT.spec, _faint(), dtype="float64")
    x = _FAINT.images("float64")
    normal = np.stack([worker.trace(x, train=train)["block1.bn1"] for train in modes])
    return _nearest(kinds, normal, kinds["float64"], declared(worker)["epsilon"])


def statistics_momentum(worker: Jobs) -> Fact:
    """Measure whether batch norm's momentum, 0.9, has the model's float64 or is rounded to float32."""
    new, exact = _after_a_step(worker, "running_mean")
    kinds = {"float64": exact, "float32": _statistic("running_mean", keep=float(np.float32(BATCH_NORM_MOMENTUM)))}
    return _nearest(kinds, new, exact, declared(worker)["momentum"])


def dropouts_scale(worker: Jobs) -> Fact:
    """Measure whether dropout's scale 1 / (1 - rate) has the model's float64 or is rounded to float32."""
    case = DROPOUT
    traced = worker.trace(built(worker, case, "float64"), train=True)
    mask = seen_mask(traced, "fc1.relu", "fc1.dropout", unseen=0.0)
    kinds = {dtype: np.array(dropout_scale(dtype, case.spec.head.dropout)) for dtype in DECLARATIONS["dropout"]}
    return _nearest(kinds, mask.max(), kinds["float64"], declared(worker)["dropout"])


def ties(worker: Jobs) -> Fact:
    """Measure where the gradient of a max-pool goes when two equal values come from different inputs.

    Both are above zero: after a ReLU, a tie at zero passes no gradient on.
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
    """Measure whether LRN uses AlexNet's alpha as it is, or divided by the window, as torch's own layer does."""
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
    """Measure whether NaN passes a ReLU and a max-pool in float32; the size is the share that does not."""
    case = CASES["plain"]
    params = case.params("float32")
    params["block1.conv1.weight"][0] = np.nan
    worker.build(case.spec, params)
    pooled = worker.trace(case.images("float32"))["block1.pool"][:, 0]
    lost = 1 - float(np.isnan(pooled).mean())
    kind, declaration = "swallowed" if lost else "propagated", declared(worker)["nan"]
    return Fact(kind, lost, "" if kind == declaration else f"measured {kind}, wanted {declaration}")


def denormals(worker: Jobs) -> Fact:
    """Measure whether subnormal numbers, in the input or as products, are kept or flushed to zero."""
    lost = [dtype for dtype in ("float64", "float32") if _flushes(worker, dtype)]
    declaration, kind = declared(worker)["denormals"], "flushed" if lost else "kept"
    wrong = "" if declaration == kind else f"DECLARED says {declaration}, measured {kind}"
    return Fact(" and ".join(["flushed in " + lost[0], *lost[1:]]) if lost else kind, float(bool(lost)), wrong)


def _flushes(worker: Jobs, dtype: str) -> bool:
    """Return whether any subnormal number is lost in a convolution, a ReLU or a dense layer."""
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
"""The level and dtypes that a backend must claim for a fact; facts that are not listed need inference in float64."""


def needs(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the level and the dtypes that a backend must claim for the fact of that name."""
    return NEEDS.get(name, ("inference", ("float64",)))


_FAINT = Case(
    Spec((Block((Conv(3),)),), input_shape=(2, 6, 7), classes=3, head=Head(()), batch_norm=True, name="faint")
)
"""A case whose batch norm is so near the images that its variances can be small enough to show epsilon."""


def _faint() -> Arrays:
    """Return parameters of ``_FAINT`` for which the convolution's output and the running variances are about 1e-7."""
    params = _FAINT.params("float64")
    params["block1.conv1.weight"] *= 1e-4
    params["block1.bn1.running_var"] *= 1e-7
    return params


def _faintly(modes: Sequence[bool], **mode: Any) -> Array:
    """Return the oracle's batch norm (modes, N, C, H, W) in each mode: eval mode (False) or train mode (True)."""
    x, params, eval_ = _FAINT.images("float64"), _faint(), oracle.Mode()._replace(**mode)
    tapes = [oracle.forward(_FAINT.spec, params, x, eval_._replace(train=train)) for train in modes]
    return np.stack([tape.activations["block1.bn1"] for tape in tapes])


def _after_a_step(worker: Jobs, part: str) -> tuple[Array, Array]:
    """Return a running statistic after one step from the case's start: the backend's and the oracle's."""
    case = TRAJECTORIES["batch_norm"]
    worker.build(case.spec, case.params("float64"), dtype="float64")
    worker.learner(Recipe(precision="float64"))
    worker.step(case.images("float64"), case.labels(), 0.0)
    return worker.state()[f"block3.bn2.{part}"], _statistic(part)


def _statistic(part: str, **mode: Any) -> Array:
    case = TRAJECTORIES["batch_norm"]
    train_mode = oracle.Mode(train=True)._replace(**mode)
    tape = oracle.forward(case.spec.modified(dropout=0), case.params("float64"), case.images("float64"), train_mode)
    return tape.statistics[f"block3.bn2.{part}"]


def _nearest(kinds: dict[str, Array], got: Array, usual: Array, wanted: str | None) -> Fact:
    """Return the one of ``kinds`` that the backend does, with its distance from the usual one."""
    verdicts = {name: compare({"": got}, {"": array}, limit=FLOAT64_LIMIT) for name, array in kinds.items()}
    kind = min(verdicts, key=lambda name: verdicts[name].error)
    size = compare({"": got}, {"": usual}, limit=math.inf).error
    prefix = f"DECLARED says {wanted}, " if wanted else ""
    if not verdicts[kind].ok:
        return Fact("none", size, f"{prefix}measured none of {', '.join(kinds)}{verdicts[kind].reason}")
    wrong = "" if wanted in (None, kind) else f"{prefix}measured {kind}"
    return Fact(kind, size, wrong)
