"""The only comparator: every statement that two sets of arrays agree comes from ``compare``.

It first checks names, shapes, dtypes, that values are finite and that they differ. It then compares the error of every
array, a relative 2-norm, with a limit that follows from the number format and the lengths of the sums behind the array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .layers import expand
from .spec import Spec
from .texts import shortened

Arrays = Mapping[str, NDArray[Any]]
ROUNDOFF = {"bf16": 2.0**-8, "fp16": 2.0**-11, "tf32": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
FLOAT64_LIMIT = 1e-12
"""The limit for activations and gradients in float64.

The error of a wrong formula is far above it, that of another order of summation far below.
"""
CONFIDENCE = 5.0
"""The factor of limits that count roundoffs.

Higham & Mary (2019, SIAM J. Sci. Comput. 41) show that the error of a sum of n terms is below ``CONFIDENCE * sqrt(n)``
roundoffs with probability 1 - 2 exp(-CONFIDENCE**2 / 2), that is 1 - 7e-6.
"""


class Limit(float):
    """A limit of an error, with the reason for its value and the number format whose roundings it counts."""

    basis: str
    dtype: str

    def __new__(cls, value: float, basis: str, dtype: str = "") -> Self:
        """Make a limit of ``value``.

        ``basis`` says in words what the limit follows from. ``dtype`` is a name in ``ROUNDOFF``, or empty if the limit
        does not follow from one format.
        """
        limit = super().__new__(cls, value)
        limit.basis, limit.dtype = basis, dtype
        return limit

    @property
    def ulp(self) -> float | None:
        """The limit in units in the last place of 1 in its format, two roundoffs each; None if it has no format."""
        return float(self) / (2 * ROUNDOFF[self.dtype]) if self.dtype else None if self else 0.0

    def __str__(self) -> str:
        return f"{float(self):.1e}" + (f", {self.ulp:.0f} ulp of {self.dtype}" if self.dtype else "")


EXACT = Limit(0.0, "the same numbers by the same way, so every bit must agree")
UNDECLARED = Limit(0.0, "what a backend does not declare it refuses, and is asked no more: nothing was computed")


@dataclass(frozen=True)
class Verdict:
    """The result of a comparison: the largest ``error``, its ``limit``, and the array where it occurs.

    ``reason`` says why the two do not agree; it is empty when they do.
    """

    error: float
    limit: float
    where: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the two agree: there is no ``reason``, and the error is a number within its limit."""
        return not self.reason and self.error <= self.limit

    def __str__(self) -> str:
        return self.reason or f"{self.error:.1e} of {self.limit:.1e}"

    def of(self, reason: str) -> Verdict:
        """Return the same verdict with another ``reason``."""
        return Verdict(self.error, self.limit, self.where, reason)

    @property
    def basis(self) -> str:
        """How the limit was derived."""
        return getattr(self.limit, "basis", "given")

    @property
    def share(self) -> float:
        """The error as a share of its limit; when every bit must agree, the error itself."""
        return self.error / self.limit if self.limit else self.error

    @property
    def limit_ulp(self) -> float | None:
        """The limit in units in the last place; see ``Limit.ulp``."""
        return getattr(self.limit, "ulp", None)


def compare(
    got: Arrays, wanted: Arrays, *, limit: float, dtype: str | None = None, floors: Mapping[str, float] | None = None
) -> Verdict:
    """Compare the arrays ``got`` with the arrays ``wanted``, in the order of ``wanted``; report the first that differs.

    The error of an array is ``|got - wanted| / max(|wanted|, floor)`` in 2-norms. ``limit`` applies to every array. If
    ``dtype`` is set, every array must have it. ``floors`` are for arrays whose values cancel to zero, such as the
    gradient of a bias that batch norm removes again.
    """
    missing, extra = sorted(wanted.keys() - got.keys()), sorted(got.keys() - wanted.keys())
    if missing or extra:
        return _failed(limit, "", f"names: missing {missing or 'none'}, unexpected {extra or 'none'}")
    worst = Verdict(0.0, limit)
    for name, array in wanted.items():
        verdict = _judged(name, np.asarray(got[name]), np.asarray(array), limit, dtype, (floors or {}).get(name, 0.0))
        if not verdict.ok:
            return verdict
        worst = max(worst, verdict, key=lambda one: one.error)
    return worst


def _judged(
    name: str, got: NDArray[Any], wanted: NDArray[Any], limit: float, dtype: str | None, floor: float
) -> Verdict:
    if got.shape != wanted.shape:
        return _failed(limit, name, f"{name}: got shape {got.shape}, wanted {wanted.shape}")
    if dtype and got.dtype != dtype:
        return _failed(limit, name, f"{name}: got {got.dtype}, wanted {dtype}")
    if not np.isfinite(got).all():
        return _failed(
            limit, name, f"{name}: {np.count_nonzero(~np.isfinite(got))} of {got.size} values are not finite"
        )
    if got.size > 1 and wanted.size and np.ptp(wanted) > 0 and np.ptp(got) == 0 and not floor:
        return _failed(limit, name, f"{name}: every value is {got.flat[0]}, wanted values that differ")
    scale = max(float(np.linalg.norm(wanted.astype(np.float64))), floor)
    difference = float(np.linalg.norm(got.astype(np.float64) - wanted))
    error = difference / scale if scale else (math.inf if difference else 0.0)
    reason = "" if error <= limit else f"{name}: error {error:.1e} is over its limit {limit:.1e}"
    return Verdict(error, limit, name, reason)


def _failed(limit: float, where: str, reason: str) -> Verdict:
    return Verdict(math.inf, limit, where, shortened(reason))


def forward_limit(spec: Spec, dtype: str) -> Limit:
    """Return the limit for activations and logits: every layer adds ``sqrt`` of its sums' length in roundings."""
    return _limit(
        dtype, sum(math.sqrt(n) for n in _lengths(spec)), "the sum of the square roots of every layer's sum lengths"
    )


def gradient_limit(spec: Spec, dtype: str, batch: int) -> Limit:
    """Return the limit for gradients: the forward sums, the backward sums, and the sum over batch and positions.

    Formats narrower than float32 are summed in float32, so they add one rounding per layer, forward and backward.
    """
    if ROUNDOFF[dtype] > ROUNDOFF["float32"]:
        return _limit(
            dtype, math.sqrt(2 * len(_lengths(spec))), "the square root of the number of layers, forward and backward"
        )
    positions = max(math.prod(row.output_shape[1:]) for row in expand(spec) if row.parameters)
    roundings = 2 * sum(math.sqrt(n) for n in _lengths(spec)) + math.sqrt(batch * positions)
    return _limit(
        dtype,
        roundings,
        "the sum of the square roots of every layer's sum lengths, forward and backward, and of one map",
    )


def _limit(dtype: str, roundings: float, count: str) -> Limit:
    if dtype == "float64":
        basis = "fixed: far above any order of summation in float64, far below any wrong formula"
        return Limit(FLOAT64_LIMIT, basis, dtype)
    basis = f"{CONFIDENCE:g} roundoffs of {dtype} times {roundings:.0f}, {count}"
    return Limit(CONFIDENCE * roundings * ROUNDOFF[dtype], basis, dtype)


def _lengths(spec: Spec) -> list[int]:
    """Return the length of the sum behind each layer's output: the fan-in of its weight, or 1 if it has none."""
    return [
        max(row.macs // math.prod(row.output_shape), 1)
        for row in expand(spec)
        if row.kind not in ("flatten", "dropout")
    ]


def gradient_floors(grads: Arrays) -> dict[str, float]:
    """Return for each bias the norm that its gradient would have if it did not cancel.

    It is the norm of its weight's gradient, divided by the square root of the weight's size per bias value.
    """
    floors = {}
    for name, grad in grads.items():
        if name.endswith(".bias"):
            weight = grads[f"{name.removesuffix('bias')}weight"]
            floors[name] = float(np.linalg.norm(weight)) / math.sqrt(max(weight.size // grad.size, 1))
    return floors
