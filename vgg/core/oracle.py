"""The oracle: VGG in float64 NumPy, with forward pass, loss, all gradients and the SGD step.

Every backend is compared with it. It reads the layer table and no code of a backend. Images are NCHW, weights OIHW and
(out, in), labels integers (N,). A convolution is a sum of matrix products, one per position in the kernel ("tap"), so
that BLAS does the work and no patch is copied twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE
from .errors import mismatch
from .layers import Layer, expand
from .params import check_params
from .spec import Spec

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@dataclass
class Tape:
    """The record of one forward pass.

    ``activations`` are by layer name, new running ``statistics`` by canonical name; the backward pass needs ``saved``.
    """

    activations: Arrays = field(default_factory=dict)
    statistics: Arrays = field(default_factory=dict)
    saved: dict[str, Any] = field(default_factory=dict)

    @property
    def logits(self) -> Array:
        """The last activation, (N, classes)."""
        return next(reversed(self.activations.values()))


class Mode(NamedTuple):
    """How a forward pass treats batch norm and dropout.

    ``train`` uses batch statistics and dropout. ``masks`` maps the name of a dropout layer to the array (N, units) that
    it multiplies by, of 0 and 1 / (1 - rate). ``bessel`` says which variance enters the running statistic: with n - 1
    in the denominator (torch), or with n. ``keep`` is the share of the old statistic that is kept, and ``epsilon`` the
    number that batch norm adds to a variance.
    """

    train: bool = False
    masks: Mapping[str, ArrayLike] | None = None
    bessel: bool = False
    keep: float = BATCH_NORM_MOMENTUM
    epsilon: float = BATCH_NORM_EPSILON


EVAL = Mode()


def forward(spec: Spec, params: Mapping[str, ArrayLike], x: ArrayLike, mode: Mode = EVAL) -> Tape:
    """Run images (N, C, H, W) through ``spec`` and return the tape; the last activation is the logits (N, classes).

    Raises ``VGGError`` when the parameters, the images or the masks do not fit ``spec``.
    """
    weights = {name: np.asarray(array, np.float64) for name, array in params.items()}
    check_params(weights, spec)
    tape, out = Tape(), np.asarray(x, np.float64)
    if out.shape[1:] != spec.input_shape:
        raise mismatch("images", out.shape, f"(N, {', '.join(map(str, spec.input_shape))})")
    for row in expand(spec):
        out = _FORWARD[row.kind](row, _own(row, weights), out, tape, mode)
        tape.activations[row.name] = out
    return tape


def cross_entropy(logits: Array, y: ArrayLike) -> tuple[float, Array]:
    """Return the mean cross-entropy of logits (N, classes) at labels (N,), and its gradient (N, classes).

    Raises ``VGGError`` unless ``y`` is N integers from 0 to classes - 1.
    """
    labels = np.asarray(y)
    count, classes = logits.shape
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < classes)).all():
        raise mismatch("labels", labels.tolist(), f"{count} integers from 0 to {classes - 1}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    hot = np.equal.outer(labels, np.arange(classes)).astype(float)
    return float(-(log_p * hot).sum(axis=1).mean()), (np.exp(log_p) - hot) / len(labels)


def loss_and_grads(
    spec: Spec, params: Mapping[str, ArrayLike], x: ArrayLike, y: ArrayLike, mode: Mode = EVAL
) -> tuple[float, Arrays, Tape]:
    """Return the mean cross-entropy, ``{canonical name: gradient}`` of every trained parameter, and the tape.

    Raises ``VGGError`` as ``forward`` and ``cross_entropy`` do.
    """
    tape = forward(spec, params, x, mode)
    return *backward(spec, params, tape, y), tape


def backward(spec: Spec, params: Mapping[str, ArrayLike], tape: Tape, y: ArrayLike) -> tuple[float, Arrays]:
    """Return the mean cross-entropy and ``{canonical name: gradient}``, from the tape of a forward pass."""
    weights = {name: np.asarray(array, np.float64) for name, array in params.items()}
    loss, grad = cross_entropy(tape.logits, y)
    grads: Arrays = {}
    for row in reversed(expand(spec)):
        grad, own = _BACKWARD[row.kind](row, _own(row, weights), tape.saved[row.name], grad)
        grads |= {f"{row.name}.{part}": value for part, value in own.items()}
    return loss, {name: grads[name] for name in weights if name in grads}


def sgd(
    params: Mapping[str, Array],
    grads: Arrays,
    velocity: Arrays,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> tuple[Arrays, Arrays]:
    """Take one step of SGD and return the new (parameters, velocity).

    v = momentum v + (g + weight_decay w); w = w - lr v. The velocity is a sum of gradients (torch, optax), not of steps
    (MXNet, Keras); the two differ when the learning rate changes.
    """
    fresh = {n: momentum * velocity[n] + g + weight_decay * params[n] for n, g in grads.items()}
    return {n: w - lr * fresh[n] if n in fresh else w for n, w in params.items()}, fresh


def _own(row: Layer, weights: Mapping[str, Array]) -> Arrays:
    return {name.rpartition(".")[2]: weights[name] for name in row.parameters}


def _taps(x: Array, kernel: int, stride: int, shape: tuple[int, ...]) -> Iterator[tuple[int, int, Array]]:
    """Yield (row, column, view) for each tap of the kernel; the view is its input at every output position."""
    height, width = shape[-2:]
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, x[:, :, i : i + stride * height : stride, j : j + stride * width : stride]


def _flat(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(*x.shape[:2], -1)


def _conv(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    p = row.attributes["padding"]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    tape.saved[row.name] = padded
    out: Array = np.zeros((len(x), row.output_shape[0], row.output_shape[1] * row.output_shape[2]))
    for i, j, seen in _taps(padded, row.attributes["kernel"], row.attributes["stride"], row.output_shape):
        out += np.ascontiguousarray(own["weight"][:, :, i, j]) @ _flat(seen)
    return (out + own["bias"][:, None]).reshape(len(x), *row.output_shape)


def _conv_back(row: Layer, own: Arrays, padded: Array, grad: Array) -> tuple[Array, Arrays]:
    weight, flat = own["weight"], _flat(grad)
    dweight, dpadded = np.zeros_like(weight), np.zeros_like(padded)
    pairs = zip(
        _taps(padded, row.attributes["kernel"], row.attributes["stride"], row.output_shape),
        _taps(dpadded, row.attributes["kernel"], row.attributes["stride"], row.output_shape),
        strict=True,
    )
    for (i, j, seen), (_, _, dseen) in pairs:
        dweight[:, :, i, j] = (flat @ _flat(seen).swapaxes(1, 2)).sum(axis=0)
        dseen[...] += (np.ascontiguousarray(weight[:, :, i, j].T) @ flat).reshape(dseen.shape)
    p = row.attributes["padding"]
    inner = dpadded[:, :, p : dpadded.shape[2] - p, p : dpadded.shape[3] - p]
    return inner, {"weight": dweight, "bias": flat.sum(axis=(0, 2))}


def _dense(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    tape.saved[row.name] = x
    return x @ own["weight"].T + own["bias"]


def _dense_back(row: Layer, own: Arrays, x: Array, grad: Array) -> tuple[Array, Arrays]:
    return grad @ own["weight"], {"weight": grad.T @ x, "bias": grad.sum(axis=0)}


def _batch_norm(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    mean, var = own["running_mean"], own["running_var"]
    if mode.train:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        count = x.size // x.shape[1]
        if mode.bessel and count == 1:
            raise mismatch(
                row.name, "one value per channel", "two or more for an unbiased variance", "take a larger batch"
            )
        batch = {"running_mean": mean, "running_var": var * count / (count - 1) if mode.bessel else var}
        for part, new in batch.items():
            tape.statistics[f"{row.name}.{part}"] = mode.keep * own[part] + (1 - mode.keep) * new
    scale = 1 / np.sqrt(_column(var) + mode.epsilon)
    normal = (x - _column(mean)) * scale
    tape.saved[row.name] = normal, scale, mode.train
    return normal * _column(own["weight"]) + _column(own["bias"])


def _batch_norm_back(row: Layer, own: Arrays, saved: Any, grad: Array) -> tuple[Array, Arrays]:
    normal, scale, train = saved
    axes = (0, 2, 3)
    dweight, dbias = (grad * normal).sum(axis=axes), grad.sum(axis=axes)
    if train:
        count = grad.size // grad.shape[1]
        grad = grad - _column(dbias) / count - normal * _column(dweight) / count
    return grad * scale * _column(own["weight"]), {"weight": dweight, "bias": dbias}


def _column(x: Array) -> Array:
    return x[:, None, None]


def _relu(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    tape.saved[row.name] = x > 0
    return np.maximum(x, 0)


def _relu_back(row: Layer, own: Arrays, positive: Array, grad: Array) -> tuple[Array, Arrays]:
    return grad * positive, {}


def _lrn(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    scale = LRN_K + LRN_ALPHA * _channel_sum(x * x)
    tape.saved[row.name] = x, scale
    return x * scale**-LRN_BETA


def _lrn_back(row: Layer, own: Arrays, saved: Any, grad: Array) -> tuple[Array, Arrays]:
    x, scale = saved
    across = _channel_sum(grad * x * scale ** (-LRN_BETA - 1))
    return grad * scale**-LRN_BETA - 2 * LRN_ALPHA * LRN_BETA * x * across, {}


def _channel_sum(x: Array) -> Array:
    half = LRN_SIZE // 2
    padded = np.pad(x, ((0, 0), (half, half), (0, 0), (0, 0)))
    return sum((padded[:, i : i + x.shape[1]] for i in range(1, LRN_SIZE)), start=padded[:, : x.shape[1]])


def _max_pool(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    seen = [view for *_, view in _taps(x, row.attributes["kernel"], row.attributes["stride"], row.output_shape)]
    winner = np.argmax(seen, axis=0)
    tape.saved[row.name] = winner, x.shape
    out: Array = np.max(seen, axis=0)
    return out


def _max_pool_back(row: Layer, own: Arrays, saved: Any, grad: Array) -> tuple[Array, Arrays]:
    """Send the gradient of a tie to its first tap.

    Frameworks differ here. At zero, ReLU stops the gradient; above zero, the difference is a declared fact.
    """
    winner, shape = saved
    dx: Array = np.zeros(shape)
    for tap, (*_, seen) in enumerate(_taps(dx, row.attributes["kernel"], row.attributes["stride"], row.output_shape)):
        seen[...] += grad * (winner == tap)
    return dx, {}


def _flatten(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    tape.saved[row.name] = x.shape
    return x.reshape(len(x), -1)


def _flatten_back(row: Layer, own: Arrays, shape: Any, grad: Array) -> tuple[Array, Arrays]:
    return grad.reshape(shape), {}


def _global_avg_pool(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    tape.saved[row.name] = x.shape
    out: Array = x.mean(axis=(2, 3))
    return out


def _global_avg_pool_back(row: Layer, own: Arrays, shape: Any, grad: Array) -> tuple[Array, Arrays]:
    return np.broadcast_to(grad[:, :, None, None] / (shape[2] * shape[3]), shape), {}


def _dropout(row: Layer, own: Arrays, x: Array, tape: Tape, mode: Mode) -> Array:
    mask = np.ones_like(x)
    if mode.train:
        if mode.masks is None or row.name not in mode.masks:
            raise mismatch(row.name, "no dropout mask", f"a mask of shape {x.shape}", "read it off a backend's trace")
        mask = np.asarray(mode.masks[row.name], np.float64)
        if mask.shape != x.shape:
            raise mismatch(row.name, f"a mask of shape {mask.shape}", x.shape)
    tape.saved[row.name] = mask
    return x * mask


def _dropout_back(row: Layer, own: Arrays, mask: Array, grad: Array) -> tuple[Array, Arrays]:
    return grad * mask, {}


_FORWARD: dict[str, Callable[[Layer, Arrays, Array, Tape, Mode], Array]] = {
    "conv": _conv,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "lrn": _lrn,
    "max_pool": _max_pool,
    "flatten": _flatten,
    "global_avg_pool": _global_avg_pool,
    "dropout": _dropout,
}

_BACKWARD: dict[str, Callable[[Layer, Arrays, Any, Array], tuple[Array, Arrays]]] = {
    "conv": _conv_back,
    "dense": _dense_back,
    "batch_norm": _batch_norm_back,
    "relu": _relu_back,
    "lrn": _lrn_back,
    "max_pool": _max_pool_back,
    "flatten": _flatten_back,
    "global_avg_pool": _global_avg_pool_back,
    "dropout": _dropout_back,
}
