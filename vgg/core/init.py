"""Seeded initial parameters: the same bits under every version of NumPy and on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import limits
from .errors import mismatch, unknown
from .layers import Shape, expand
from .params import Params
from .philox import normal, stream, truncated, uniform
from .spec import Spec
from .values import choice, integer


def init(spec: Spec, seed: int = 0, scheme: str = "xavier_uniform", dtype: str = "float32") -> Params:
    """Return seeded initial parameters, ``{canonical name: array}``.

    ``scheme`` is a name in ``SCHEMES``; ``dtype`` is float32 or float64. Every array has its own stream of random
    numbers, keyed by ``seed`` and name, so a change of the head does not change the convolutions. Raises ``VGGError``
    when the scheme, the dtype or the seed is wrong, and when the memory is too small.
    """
    check_scheme(scheme)
    dtype, seed = choice("dtype", dtype, ("float32", "float64")), integer("seed", seed, 0, limits.SEED)
    try:
        return _all_initial(spec, seed, scheme, dtype)
    except (MemoryError, ValueError) as error:  # ValueError: NumPy has no arrays as large
        count = sum(row.params for row in expand(spec))
        raise mismatch("spec", f"{count:,} parameters", "as many as fit the memory", "take a smaller one") from error


def check_scheme(scheme: str) -> None:
    """Raise ``VGGError`` unless ``scheme`` is a name in ``SCHEMES``."""
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise unknown("initialiser", scheme, SCHEMES)


def _all_initial(spec: Spec, seed: int, scheme: str, dtype: str) -> Params:
    params: Params = {}
    for row in expand(spec):
        fans = _fans(row.parameters.get(f"{row.name}.weight", ()))
        for name, shape in row.parameters.items():
            params[name] = _initial(name, row.kind, shape, fans, seed, scheme, dtype)
    return params


def _fans(weight: Shape) -> tuple[int, int]:
    """Return (fan in, fan out) of a weight of shape OIHW or (out, in)."""
    field = math.prod(weight[2:])
    return (weight[1] * field, weight[0] * field) if len(weight) > 1 else (1, 1)


def _initial(
    name: str, kind: str, shape: Shape, fans: tuple[int, int], seed: int, scheme: str, dtype: str
) -> NDArray[Any]:
    if kind == "batch_norm":
        return np.full(shape, float(name.endswith((".weight", ".running_var"))), dtype)
    weight, bias = SCHEMES[scheme]
    rule = bias if name.endswith(".bias") else weight
    bits = stream(seed, name)
    out = np.zeros(math.prod(shape), dtype)
    if rule:
        _fill(out, bits, rule, rule.scale(*fans))
    return out.reshape(shape)


def _fill(out: NDArray[Any], bits: np.random.Philox, rule: Rule, scale: float) -> None:
    filled = 0
    while filled < out.size:
        numbers = rule.draw(bits)[: out.size - filled]
        out[filled : filled + numbers.size] = numbers * scale
        filled += numbers.size


class Rule(NamedTuple):
    """How to draw parameters: ``draw`` draws numbers of unit size, ``scale(fan in, fan out)`` is their factor."""

    draw: Callable[[np.random.Philox], NDArray[np.float64]]
    scale: Callable[[int, int], float]


_XAVIER = Rule(uniform, lambda i, o: math.sqrt(6 / (i + o)))
_TORCH = Rule(uniform, lambda i, o: math.sqrt(1 / i))
_LECUN = Rule(truncated, lambda i, o: math.sqrt(1 / i))
SCHEMES: dict[str, tuple[Rule, Rule | None]] = {
    "xavier_uniform": (_XAVIER, None),
    "he_uniform": (Rule(uniform, lambda i, o: math.sqrt(6 / i)), None),
    "he_normal": (Rule(normal, lambda i, o: math.sqrt(2 / i)), None),
    "lecun_normal": (_LECUN, None),
    "paper": (Rule(normal, lambda i, o: 0.1), None),
    "torch": (_TORCH, _TORCH),
    "tensorflow": (_XAVIER, None),
    "jax": (_LECUN, None),
    "mxnet": (Rule(uniform, lambda i, o: 0.07), None),
}
"""Scheme name -> (rule for weights, rule for biases or None for zeros).

``xavier_uniform``: Glorot & Bengio (2010), the chapters' choice. ``he_*``: He et al. (2015). ``paper``: Simonyan &
Zisserman (2015), section 3.1, variance 0.01. The last four are the defaults of each framework's stock layers
(torch 2.13 ``Conv2d.reset_parameters``, Keras 3.15 ``glorot_uniform``, Flax 0.12 ``lecun_normal``, MXNet 1.9
``Uniform(0.07)``).
"""
