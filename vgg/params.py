"""Canonical parameters: names, shapes, seeded initial values, and safetensors files that carry their spec.

Initial values are bit-identical under every NumPy and on every machine: raw Philox bits (a stream NumPy keeps fixed) go
through operations that IEEE 754 rounds exactly (+ - * / sqrt), never through ``log`` or ``Generator.normal``, which may
move by an ulp.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import VGGError, mismatch, unknown
from .layers import Shape, expand
from .spec import Spec

Params = dict[str, NDArray[Any]]
_CHUNK = 1 << 15
_TRUNCATED_STD = 0.8796256610342398
"""Standard deviation of a standard normal cut at +-2; Flax and Keras divide by it."""


def shapes(spec: Spec) -> dict[str, Shape]:
    """``{canonical name: shape}`` in layer-table order, running statistics included."""
    return {name: shape for row in expand(spec) for name, shape in row.parameters.items()}


def init(spec: Spec, seed: int = 0, scheme: str = "xavier_uniform", dtype: str = "float32") -> Params:
    """Seeded initial parameters. ``scheme`` is a name in ``SCHEMES``; ``dtype`` float32 or float64.

    Every array has its own stream, keyed by seed and name: changing the head leaves the convolutions as they were.
    """
    if scheme not in SCHEMES:
        raise unknown("initialiser", scheme, SCHEMES)
    if dtype not in ("float32", "float64"):
        raise mismatch("dtype", repr(dtype), "float32 or float64")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise mismatch("seed", repr(seed), "an integer >= 0")
    params: Params = {}
    for row in expand(spec):
        fans = _fans(row.parameters.get(f"{row.name}.weight", ()))
        for name, shape in row.parameters.items():
            params[name] = _initial(name, row.kind, shape, fans, seed, scheme, dtype)
    return params


def save_params(path: str | Path, params: Mapping[str, NDArray[Any]], spec: Spec) -> None:
    """Write safetensors with the spec in the metadata; aside first, then renamed: never half a file."""
    from safetensors.numpy import save

    path = Path(path)
    check_params(params, spec, str(path))
    arrays = {name: np.ascontiguousarray(params[name]) for name in shapes(spec)}
    write_atomically(path, save(arrays, metadata={"spec": spec.to_json()}))


def load_params(path: str | Path, *, among: bool = False) -> Params:
    """``{canonical name: array}`` of a file that ``save_params`` wrote, checked against the spec it carries; ``among``:
    of what may hold other arrays too, as a checkpoint does.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    spec = load_spec(path)
    try:
        params = load_file(path)
    except (SafetensorError, OSError) as error:
        raise VGGError(f"{path}: not a readable safetensors file ({error}); write it again") from error
    wanted = {name: a for name, a in params.items() if not among or name in shapes(spec)}
    check_params(wanted, spec, str(path))
    return {name: wanted[name] for name in shapes(spec)}


def load_spec(path: str | Path) -> Spec:
    """The spec in the metadata of a file that ``save_params`` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise VGGError(f"{path}: not a readable safetensors file ({error}); write it again") from error
    if "spec" not in metadata:
        raise mismatch(f"{path}", "safetensors without a spec", "a file of weights written by vgg")
    try:
        return Spec.from_json(metadata["spec"])
    except VGGError as error:
        raise VGGError(f"{path}: {error}") from error


def check_params(params: Mapping[str, NDArray[Any]], spec: Spec, where: str = "parameters") -> None:
    """Raise ``VGGError`` unless ``params`` has exactly the names and shapes of ``spec``."""
    check_arrays(params, shapes(spec), where)


def check_arrays(arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, Shape], where: str) -> None:
    """Raise ``VGGError`` unless ``arrays`` has exactly the names and shapes ``wanted``; ``where`` says where."""
    for name, shape in wanted.items():
        if name not in arrays:
            raise mismatch(f"{where}: {name}", "nothing", f"an array of shape {shape}")
        if tuple(arrays[name].shape) != shape:
            raise mismatch(f"{where}: {name}", tuple(arrays[name].shape), shape)
    for name in arrays:
        if name not in wanted:
            raise unknown(f"parameter in {where}", name, wanted)


def from_hwc(spec: Spec, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A channels-last parameter as canonical, for the backends that keep images NHWC.

    HWIO to OIHW, (in, out) to (out, in), and H,W,C to C,H,W in the ``in`` of the first dense layer.
    """
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif name == "fc1.weight" and not spec.head.global_pool:
        channels, height, width = spec.feature_shape
        array = array.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    elif array.ndim == 2:
        array = array.T
    return np.array(array, order="C")


def to_hwc(spec: Spec, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The inverse of ``from_hwc``."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if name == "fc1.weight" and not spec.head.global_pool:
        return array.reshape(-1, *spec.feature_shape).transpose(2, 3, 1, 0).reshape(array.shape[::-1])
    return array.T if array.ndim == 2 else array


def activation_from_hwc(spec: Spec, name: str, x: NDArray[Any]) -> NDArray[Any]:
    """A copy of an activation as NCHW, a flattened one in C,H,W order."""
    if name == "flatten":
        channels, height, width = spec.feature_shape
        x = x.reshape(-1, height, width, channels)
    canonical = np.array(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x, order="C")
    return canonical.reshape(len(x), -1) if name == "flatten" else canonical


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to a file aside, then rename it to ``path``; an ``OSError`` becomes a ``VGGError``."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in ``folder``. Nobody else may be writing there."""
    for aside in folder.glob(".*.[0-9]*"):
        aside.unlink()


def unwritable(path: Path, error: OSError) -> VGGError:
    """What to raise where ``path`` cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    do = "free some space, then go on with --resume" if full else "choose another place"
    return VGGError(f"{path}: cannot be written ({error.strerror}); {do}")


def stream(*key: int | str) -> np.random.Philox:
    """The raw bits that belong to ``key``: every array, every mask has its own."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def _fans(weight: Shape) -> tuple[int, int]:
    """(fan in, fan out) of an OIHW or (out, in) weight."""
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
        some = rule.draw(bits)[: out.size - filled]
        out[filled : filled + some.size] = some * scale
        filled += some.size


def _uniform(bits: np.random.Philox) -> NDArray[np.float64]:
    """Numbers in [-1, 1): the upper 53 of 64 raw bits."""
    raw: NDArray[np.uint64] = bits.random_raw(_CHUNK)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def _normal(bits: np.random.Philox) -> NDArray[np.float64]:
    """Standard normal numbers by Marsaglia's polar method; a chunk of pairs, less those outside the circle."""
    pairs = _uniform(bits).reshape(2, -1)
    s = pairs[0] ** 2 + pairs[1] ** 2
    inside = (s < 1.0) & (s > 0.0)
    pairs, s = pairs[:, inside], s[inside]
    numbers: NDArray[np.float64] = (pairs * np.sqrt(-2.0 * _log(s) / s)).ravel()
    return numbers


def _truncated(bits: np.random.Philox) -> NDArray[np.float64]:
    """Standard normal numbers, those beyond +-2 drawn again, scaled back to unit variance."""
    some = _normal(bits)
    return some[np.abs(some) < 2.0] / _TRUNCATED_STD


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm to 1e-15, from exactly rounded operations alone: x = m 2^e, log m = 2 atanh((m-1)/(m+1))."""
    m, e = np.frexp(x)
    small = m < math.sqrt(0.5)
    m, e = np.where(small, 2.0 * m, m), e - small
    t = (m - 1.0) / (m + 1.0)
    tt = t * t
    total = np.zeros_like(t)
    for k in range(21, 0, -2):
        total = total * tt + 1.0 / k
    result: NDArray[np.float64] = 2.0 * t * total + e * math.log(2.0)
    return result


class Rule(NamedTuple):
    """A draw of unit numbers, and what (fan in, fan out) scales them by."""

    draw: Callable[[np.random.Philox], NDArray[np.float64]]
    scale: Callable[[int, int], float]


_XAVIER = Rule(_uniform, lambda i, o: math.sqrt(6 / (i + o)))
_TORCH = Rule(_uniform, lambda i, o: math.sqrt(1 / i))
_LECUN = Rule(_truncated, lambda i, o: math.sqrt(1 / i))

SCHEMES: dict[str, tuple[Rule, Rule | None]] = {
    "xavier_uniform": (_XAVIER, None),
    "he_uniform": (Rule(_uniform, lambda i, o: math.sqrt(6 / i)), None),
    "he_normal": (Rule(_normal, lambda i, o: math.sqrt(2 / i)), None),
    "lecun_normal": (_LECUN, None),
    "paper": (Rule(_normal, lambda i, o: 0.1), None),
    "torch": (_TORCH, _TORCH),
    "tensorflow": (_XAVIER, None),
    "jax": (_LECUN, None),
    "mxnet": (Rule(_uniform, lambda i, o: 0.07), None),
}
"""Scheme name -> rule for weights, rule for biases (none: zero).

``xavier_uniform``: Glorot & Bengio (2010), the chapters' choice. ``he_*``: He et al. (2015). ``paper``: Simonyan &
Zisserman (2015), section 3.1, variance 0.01. The last four are what each framework's stock layers do when left alone
(torch 2.13 ``Conv2d.reset_parameters``, Keras 3.15 ``glorot_uniform``, Flax 0.12 ``lecun_normal``, MXNet 1.9
``Uniform(0.07)``).
"""
