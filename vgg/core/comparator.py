"""The one comparator. Everything that says two things agree says it through ``compare``.

Names, shapes, dtypes, finiteness and non-constancy come first; then the error of every array, as a relative 2-norm,
against a limit that follows from the number format and the lengths of the sums behind it.
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

Arrays = Mapping[str, NDArray[Any]]
ROUNDOFF = {"bf16": 2.0**-8, "fp16": 2.0**-11, "tf32": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
FLOAT64_LIMIT = 1e-12
"""For activations and gradients in float64: any wrong formula is far above it, any order of summation far below."""
CONFIDENCE = 5.0
"""Higham & Mary (2019, SIAM J. Sci. Comput. 41): the error of a sum of n terms is below ``CONFIDENCE * sqrt(n)``
roundoffs with probability 1 - 2 exp(-CONFIDENCE**2 / 2), that is 1 - 7e-6."""


class Limit(float):
    """A limit that says how it came about, and of which number format it counts the roundings."""

    basis: str
    dtype: str

    def __new__(cls, value: float, basis: str, dtype: str = "") -> Self:
        """``basis`` is what the limit follows from, in words; ``dtype`` a name in ``ROUNDOFF``, if it follows from one
        format.
        """
        limit = super().__new__(cls, value)
        limit.basis, limit.dtype = basis, dtype
        return limit

    @property
    def ulp(self) -> float | None:
        """The limit in units in the last place of 1 in its format, two roundoffs each; None where it has no format."""
        return float(self) / (2 * ROUNDOFF[self.dtype]) if self.dtype else None if self else 0.0

    def __str__(self) -> str:
        return f"{float(self):.1e}" + (f", {self.ulp:.0f} ulp of {self.dtype}" if self.dtype else "")


EXACT = Limit(0.0, "the same numbers by the same way, so every bit must agree")
UNDECLARED = Limit(0.0, "what a backend does not declare it refuses, and is asked no more: nothing was computed")


@dataclass(frozen=True)
class Verdict:
    """What a comparison found: the worst error beside its limit, and where. ``reason`` is empty when all is well."""

    error: float
    limit: float
    where: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the two agree: no reason against it, and an error that is a number within its limit."""
        return not self.reason and self.error <= self.limit

    def __str__(self) -> str:
        return self.reason or f"{self.error:.1e} of {self.limit:.1e}"

    def of(self, reason: str) -> Verdict:
        """The same verdict with another ``reason``."""
        return Verdict(self.error, self.limit, self.where, reason)

    @property
    def basis(self) -> str:
        """How the limit was derived."""
        return getattr(self.limit, "basis", "given")

    @property
    def share(self) -> float:
        """Which share of its limit the error is; where every bit must agree, the error."""
        return self.error / self.limit if self.limit else self.error

    @property
    def limit_ulp(self) -> float | None:
        """The limit in units in the last place, see ``Limit.ulp``."""
        return getattr(self.limit, "ulp", None)


def compare(
    got: Arrays, wanted: Arrays, *, limit: float, dtype: str | None = None, floors: Mapping[str, float] | None = None
) -> Verdict:
    """Judge ``got`` against ``wanted``, in the order of ``wanted``: the first name to diverge is the one reported.

    The error of an array is ``|got - wanted| / max(|wanted|, floor)`` in 2-norms; ``floors`` serve arrays that cancel
    to nothing, such as the gradient of a bias that batch norm takes away again.
    """
    missing, extra = sorted(wanted.keys() - got.keys()), sorted(got.keys() - wanted.keys())
    if missing or extra:
        return _failed(limit, "", f"names: missing {missing or 'none'}, unexpected {extra or 'none'}")
    worst = Verdict(0.0, limit)
    for name, array in wanted.items():
        found = _judged(name, np.asarray(got[name]), np.asarray(array), limit, dtype, (floors or {}).get(name, 0.0))
        if not found.ok:
            return found
        worst = max(worst, found, key=lambda verdict: verdict.error)
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
    return Verdict(math.inf, limit, where, reason)


def forward_limit(spec: Spec, dtype: str) -> Limit:
    """For activations and logits: every layer adds the rounding of its sums, ``sqrt`` of their length each."""
    return _limit(
        dtype, sum(math.sqrt(n) for n in _lengths(spec)), "the sum of the square roots of every layer's sum lengths"
    )


def gradient_limit(spec: Spec, dtype: str, batch: int) -> Limit:
    """For gradients: the forward sums, the same sums backward, and the one over batch and positions.

    Formats narrower than float32 are summed in it: what they add is one rounding a layer, there and back.
    """
    if ROUNDOFF[dtype] > ROUNDOFF["float32"]:
        return _limit(
            dtype, math.sqrt(2 * len(_lengths(spec))), "the square root of the number of layers, there and back"
        )
    positions = max(math.prod(row.output_shape[1:]) for row in expand(spec) if row.parameters)
    roundings = 2 * sum(math.sqrt(n) for n in _lengths(spec)) + math.sqrt(batch * positions)
    return _limit(
        dtype, roundings, "the sum of the square roots of every layer's sum lengths, there and back, and of one map"
    )


def _limit(dtype: str, roundings: float, counted: str) -> Limit:
    if dtype == "float64":
        basis = "fixed: far above any order of summation in float64, far below any wrong formula"
        return Limit(FLOAT64_LIMIT, basis, dtype)
    basis = f"{CONFIDENCE:g} roundoffs of {dtype} times {roundings:.0f}, {counted}"
    return Limit(CONFIDENCE * roundings * ROUNDOFF[dtype], basis, dtype)


def _lengths(spec: Spec) -> list[int]:
    """The length of the sum behind each layer's output: a weight's fan-in, one or two operations for the others."""
    return [
        max(row.macs // math.prod(row.output_shape), 1)
        for row in expand(spec)
        if row.kind not in ("flatten", "dropout")
    ]


def gradient_floors(grads: Arrays) -> dict[str, float]:
    """For each bias, what its gradient's norm would be if it did not cancel: its weight's, per column of the weight."""
    floors = {}
    for name, grad in grads.items():
        if name.endswith(".bias"):
            weight = grads[f"{name.removesuffix('bias')}weight"]
            floors[name] = float(np.linalg.norm(weight)) / math.sqrt(max(weight.size // grad.size, 1))
    return floors
