"""The oracle against plain loops, layer by layer, and against central differences, array by array."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vgg import Block, Conv, Head, Layer, Pool, Spec, VGGError, expand, shapes
from vgg.core.oracle import Mode, Tape, cross_entropy, forward, loss_and_grads, sgd

Array = NDArray[np.float64]
EPSILON = 1e-5  # of batch norm, and its running statistics keep 0.9
SPECS = {
    "normalised": Spec(  # overlapping pools, even kernel, 1x1 kernel, LRN narrower and wider than its channels
        blocks=(
            Block((Conv(7, kernel=3, stride=2, padding=1, lrn=True), Conv(5, kernel=2, padding=0)), Pool(2, 1)),
            Block((Conv(4, kernel=1, padding=0, lrn=True),), Pool(3, 2)),
        ),
        input_shape=(2, 15, 20),
        classes=3,
        head=Head((6,), 0.25),
        batch_norm=True,
    ),
    "plain": Spec(  # a pool that drops a row, a stride that drops a column, wide padding, no last pool
        blocks=(
            Block((Conv(6),), Pool(2, 2)),
            Block((Conv(5, kernel=3, padding=2), Conv(4, kernel=2, stride=3, padding=0)), None),
        ),
        input_shape=(3, 7, 12),
        classes=5,
        head=Head((8, 7), 0.4, global_pool=True),
    ),
}
COUNT, STEP = 4, 1e-5
MODES = [(name, train) for name in SPECS for train in (False, True)]
LAYERS = [(name, train, row.name) for name, train in MODES for row in expand(SPECS[name])]
TRAINED = [(name, train, part) for name, train in MODES for part in shapes(SPECS[name]) if ".running_" not in part]


@cache
def _params(name: str) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    params = {}
    for part, shape in shapes(SPECS[name]).items():
        positive = part.endswith("running_var") or (".bn" in part and part.endswith("weight"))
        params[part] = rng.uniform(0.5, 3, shape) if positive else 0.5 * rng.normal(size=shape)
    return params


@cache
def _batch(name: str) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(11)
    return 2 * rng.normal(size=(COUNT, *SPECS[name].input_shape)), rng.integers(SPECS[name].classes, size=COUNT)


@cache
def _masks(name: str) -> dict[str, Array]:
    rng = np.random.default_rng(13)
    rate = SPECS[name].head.dropout
    rows = [row for row in expand(SPECS[name]) if row.kind == "dropout"]
    return {row.name: (rng.random((COUNT, *row.output_shape)) >= rate) / (1 - rate) for row in rows}


def _mode(name: str, train: bool) -> Mode:
    return Mode(train, _masks(name) if train else None)


@cache
def _result(name: str, train: bool) -> tuple[float, dict[str, Array], Tape]:
    return loss_and_grads(SPECS[name], _params(name), *_batch(name), _mode(name, train))


def _conv(x: Array, row: Layer, weight: Array, bias: Array) -> Array:
    stride, padding = row.attributes["stride"], row.attributes["padding"]
    out = np.zeros((len(x), *row.output_shape))
    for n, o, i, j in np.ndindex(*out.shape):
        out[n, o, i, j] = bias[o]
        for c, ki, kj in np.ndindex(*weight.shape[1:]):
            h, w = i * stride + ki - padding, j * stride + kj - padding
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                out[n, o, i, j] += weight[o, c, ki, kj] * x[n, c, h, w]
    return out


def _dense(x: Array, row: Layer, weight: Array, bias: Array) -> Array:
    return np.array([[sum(a * b for a, b in zip(w, image, strict=True)) for w in weight] for image in x]) + bias


def _channel(x: Array, c: int) -> list[float]:
    return [float(x[n, c, i, j]) for n, i, j in np.ndindex(len(x), *x.shape[2:])]


def _moments(x: Array, c: int) -> tuple[float, float]:
    values = _channel(x, c)
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / len(values)


def _batch_norm(x: Array, train: bool, weight: Array, bias: Array, running_mean: Array, running_var: Array) -> Array:
    out = np.zeros_like(x)
    for c in range(x.shape[1]):
        mean, var = _moments(x, c) if train else (running_mean[c], running_var[c])
        for n, i, j in np.ndindex(len(x), *x.shape[2:]):
            out[n, c, i, j] = weight[c] * (x[n, c, i, j] - mean) / math.sqrt(var + EPSILON) + bias[c]
    return out


def _relu(x: Array) -> Array:
    return np.array([max(value, 0.0) for value in x.flat]).reshape(x.shape)


def _lrn(x: Array) -> Array:
    out = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*x.shape):
        squares = sum(x[n, k, i, j] ** 2 for k in range(c - 2, c + 3) if 0 <= k < x.shape[1])
        out[n, c, i, j] = x[n, c, i, j] / (2 + 1e-4 * squares) ** 0.75
    return out


def _max_pool(x: Array, row: Layer) -> Array:
    kernel, stride = row.attributes["kernel"], row.attributes["stride"]
    out = np.zeros((len(x), *row.output_shape))
    for n, c, i, j in np.ndindex(*out.shape):
        window = product(range(i * stride, i * stride + kernel), range(j * stride, j * stride + kernel))
        out[n, c, i, j] = max(x[n, c, h, w] for h, w in window)
    return out


def _flatten(x: Array) -> Array:
    return np.array([[image[c, i, j] for c, i, j in np.ndindex(*image.shape)] for image in x])


def _global_avg_pool(x: Array) -> Array:
    return np.array([[math.fsum(plane.flat) / plane.size for plane in image] for image in x])


def _naive(row: Layer, x: Array, name: str, train: bool) -> Array:
    own: dict[str, Any] = {part.rpartition(".")[2]: _params(name)[part] for part in row.parameters}
    kinds: dict[str, Callable[[], Array]] = {
        "conv": lambda: _conv(x, row, **own),
        "dense": lambda: _dense(x, row, **own),
        "batch_norm": lambda: _batch_norm(x, train, **own),
        "relu": lambda: _relu(x),
        "lrn": lambda: _lrn(x),
        "max_pool": lambda: _max_pool(x, row),
        "flatten": lambda: _flatten(x),
        "global_avg_pool": lambda: _global_avg_pool(x),
        "dropout": lambda: x * _masks(name)[row.name] if train else x,
    }
    return kinds[row.kind]()


def _loss(name: str, train: bool, params: dict[str, Array]) -> float:
    x, y = _batch(name)
    return cross_entropy(forward(SPECS[name], params, x, _mode(name, train)).logits, y)[0]


@pytest.mark.parametrize(("name", "train", "layer"), LAYERS)
def test_a_layer_computes_what_plain_loops_compute(name: str, train: bool, layer: str) -> None:
    activations = _result(name, train)[2].activations
    names = ["images", *activations]
    x = {"images": _batch(name)[0], **activations}[names[names.index(layer) - 1]]
    row = next(row for row in expand(SPECS[name]) if row.name == layer)
    np.testing.assert_allclose(activations[layer], _naive(row, x, name, train), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "train"), MODES)
def test_a_trace_has_the_names_and_shapes_of_the_layer_table(name: str, train: bool) -> None:
    traced = [(layer, array.shape) for layer, array in _result(name, train)[2].activations.items()]
    assert traced == [(row.name, (COUNT, *row.output_shape)) for row in expand(SPECS[name])]


@pytest.mark.parametrize(("name", "train"), MODES)
def test_no_activation_is_constant(name: str, train: bool) -> None:
    assert min(np.ptp(array, axis=0).max() for array in _result(name, train)[2].activations.values()) > 0.1


def test_the_logits_are_the_last_activation() -> None:
    tape = _result("plain", False)[2]
    np.testing.assert_array_equal(tape.logits, tape.activations["fc3"])


def test_the_loss_is_that_of_the_logits() -> None:
    loss, _, tape = _result("plain", True)
    pairs = zip(tape.logits, _batch("plain")[1], strict=True)
    log_p = [row[label] - math.log(sum(math.exp(logit) for logit in row)) for row, label in pairs]
    assert loss == pytest.approx(-sum(log_p) / COUNT, rel=1e-13)


@pytest.mark.parametrize(("name", "train", "part"), TRAINED)
def test_a_gradient_is_that_of_central_differences(name: str, train: bool, part: str) -> None:
    params, grads = _params(name), _result(name, train)[1]
    largest = max(np.abs(grad).max() for grad in grads.values())
    for direction in np.random.default_rng(29).normal(size=(3, *params[part].shape)):
        there, back = (_loss(name, train, params | {part: params[part] + s * STEP * direction}) for s in (1, -1))
        slope = float((grads[part] * direction).sum())
        assert slope == pytest.approx((there - back) / (2 * STEP), rel=1e-6, abs=1e-9 * largest * direction.size**0.5)


@pytest.mark.parametrize(("name", "train"), MODES)
def test_gradients_have_the_names_shapes_and_order_of_what_is_trained(name: str, train: bool) -> None:
    grads = _result(name, train)[1]
    wanted = [(part, shape) for part, shape in shapes(SPECS[name]).items() if ".running_" not in part]
    assert [(part, grad.shape) for part, grad in grads.items()] == wanted


@pytest.mark.parametrize(("name", "train", "part"), TRAINED)
def test_only_a_conv_bias_that_batch_norm_absorbs_has_no_gradient(name: str, train: bool, part: str) -> None:
    absorbed = train and SPECS[name].batch_norm and ".conv" in part and part.endswith("bias")
    assert (np.abs(_result(name, train)[1][part]).max() < 1e-12) == absorbed


def test_float32_parameters_are_computed_with_in_float64() -> None:
    single = {part: array.astype(np.float32) for part, array in _params("plain").items()}
    double = {part: array.astype(np.float64) for part, array in single.items()}
    got, wanted = (forward(SPECS["plain"], params, _batch("plain")[0]) for params in (single, double))
    np.testing.assert_array_equal(got.logits, wanted.logits)


def test_the_oracle_leaves_its_arguments_as_they_were() -> None:
    params, x = {part: array.copy() for part, array in _params("normalised").items()}, _batch("normalised")[0].copy()
    loss_and_grads(SPECS["normalised"], params, x, _batch("normalised")[1], _mode("normalised", True))
    np.testing.assert_equal((params, x), (_params("normalised"), _batch("normalised")[0]))


def test_masks_do_nothing_outside_training() -> None:
    tape = forward(SPECS["plain"], _params("plain"), _batch("plain")[0], Mode(False, _masks("plain")))
    np.testing.assert_array_equal(tape.logits, _result("plain", False)[2].logits)


@pytest.mark.parametrize("keep", [None, 0.75])
@pytest.mark.parametrize("bessel", [False, True])
@pytest.mark.parametrize("layer", ["block1.bn1", "block1.bn2", "block2.bn1"])
def test_running_statistics_keep_nine_tenths_unless_told(layer: str, bessel: bool, keep: float | None) -> None:
    params, mode = _params("normalised"), Mode(True, _masks("normalised"), bessel)
    mode, share = (mode, 0.9) if keep is None else (mode._replace(keep=keep), keep)
    tape = forward(SPECS["normalised"], params, _batch("normalised")[0], mode)
    x = tape.activations[layer.replace("bn", "conv")]
    count = x.size // x.shape[1]
    means, variances = np.array([_moments(x, c) for c in range(x.shape[1])]).T
    variances = variances * count / (count - 1) if bessel else variances
    wanted = {"running_mean": means, "running_var": variances}
    for part, new in wanted.items():
        old = params[f"{layer}.{part}"]
        np.testing.assert_allclose(
            tape.statistics[f"{layer}.{part}"], share * old + (1 - share) * new, rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("train", [False, True])
def test_running_statistics_move_in_training_only(train: bool) -> None:
    moved = {part for part in shapes(SPECS["normalised"]) if ".running_" in part} if train else set()
    assert _result("normalised", train)[2].statistics.keys() == moved


def test_bessels_correction_changes_nothing_but_the_running_variance() -> None:
    x = _batch("normalised")[0]
    modes = [Mode(True, _masks("normalised"), bessel) for bessel in (False, True)]
    plain, bessel = (forward(SPECS["normalised"], _params("normalised"), x, mode) for mode in modes)
    np.testing.assert_array_equal(plain.logits, bessel.logits)
    assert {p for p, a in plain.statistics.items() if (a != bessel.statistics[p]).any()} == {
        p for p in plain.statistics if p.endswith("running_var")
    }


def test_a_tie_in_a_max_pool_sends_its_gradient_to_the_first_in_the_window() -> None:
    # Channel 0 of the image is all 3 and decides the pool; channel 1, unseen by the weights, tells positions apart.
    spec = Spec((Block((Conv(1, kernel=1, padding=0),), Pool(2, 2)),), (2, 2, 3), 2, Head((), 0))
    params = {
        "block1.conv1.weight": np.array([1.0, 0]).reshape(1, 2, 1, 1),
        "block1.conv1.bias": np.array([0.5]),
        "fc1.weight": np.array([[1.0], [2.0]]),
        "fc1.bias": np.array([0.25, -0.5]),
    }
    x = np.array([[[3.0, 3, 3], [3, 3, 3]], [[5, 7, 11], [13, 17, 19]]])[None]
    _, grads, _ = loss_and_grads(spec, params, x, [1])
    np.testing.assert_allclose(grads["block1.conv1.weight"].ravel(), grads["block1.conv1.bias"] * [3, 5], rtol=1e-14)


def test_cross_entropy_has_the_gradient_of_central_differences() -> None:
    logits, y = 3 * np.random.default_rng(17).normal(size=(5, 7)), [6, 0, 3, 3, 1]
    nudges = STEP * np.eye(logits.size).reshape(-1, *logits.shape)
    slopes = [(cross_entropy(logits + n, y)[0] - cross_entropy(logits - n, y)[0]) / (2 * STEP) for n in nudges]
    wanted = np.reshape(slopes, logits.shape)
    np.testing.assert_allclose(cross_entropy(logits, y)[1], wanted, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("label", "loss"), [(0, 0.0), (1, 2e300), (2, 1e300)])
def test_cross_entropy_stays_finite_at_huge_logits(label: int, loss: float) -> None:
    got, grad = cross_entropy(np.array([[1e300, -1e300, 0]]), [label])
    assert got == loss
    np.testing.assert_array_equal(grad, [np.eye(3)[0] - np.eye(3)[label]])


@pytest.mark.parametrize(
    "y",
    [[0, 1, -1], [0, 1, 5], [0.0, 1.0, 2.0], [1], [[0], [1], [2]]],
    ids=["negative", "too_large", "not_integers", "too_few", "a_column"],
)
def test_bad_labels_are_refused(y: Any) -> None:
    with pytest.raises(VGGError, match=r"labels: got .*, wanted "):
        cross_entropy(np.random.default_rng(19).normal(size=(3, 5)), y)


def test_sgd_is_the_one_worked_out_by_hand_through_a_change_of_learning_rate() -> None:
    params, velocity = {"w": np.array([1.0, -2.0])}, {"w": np.array([0.0, 0.0])}
    params, velocity = sgd(params, {"w": np.array([0.5, 3.0])}, velocity, lr=0.1, momentum=0.9, weight_decay=0.01)
    np.testing.assert_allclose(velocity["w"], [0.51, 2.98], rtol=1e-14)
    np.testing.assert_allclose(params["w"], [0.949, -2.298], rtol=1e-14)
    params, velocity = sgd(params, {"w": np.array([-0.2, 1.0])}, velocity, lr=0.01, momentum=0.9, weight_decay=0.01)
    np.testing.assert_allclose(velocity["w"], [0.26849, 3.65902], rtol=1e-14)
    np.testing.assert_allclose(params["w"], [0.9463151, -2.3345902], rtol=1e-14)


def test_sgd_leaves_what_has_no_gradient() -> None:
    params = {"w": np.array([1.0]), "running_mean": np.array([0.3])}
    moved, _ = sgd(params, {"w": np.array([2.0])}, {"w": np.array([0.0])}, lr=0.25, weight_decay=0.125)
    assert moved == {"w": np.array([1 - 0.25 * 2.125]), "running_mean": np.array([0.3])}


@pytest.mark.parametrize(
    "shape", [(COUNT, 3, 12, 7), (COUNT, 7, 12, 3), (3, 7, 12)], ids=["HW_swapped", "NHWC", "no_batch"]
)
def test_images_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(VGGError, match=r"images: got \(.*\), wanted \(N, 3, 7, 12\)"):
        forward(SPECS["plain"], _params("plain"), np.random.default_rng(23).normal(size=shape))


@pytest.mark.parametrize(("given", "layer", "width"), [((), "fc1.dropout", 8), (("fc1.dropout",), "fc2.dropout", 7)])
def test_a_missing_mask_is_refused_by_name(given: tuple[str, ...], layer: str, width: int) -> None:
    masks = {name: _masks("plain")[name] for name in given} or None
    with pytest.raises(VGGError, match=rf"{layer}: got no dropout mask, wanted a mask of shape \({COUNT}, {width}\)"):
        forward(SPECS["plain"], _params("plain"), _batch("plain")[0], Mode(True, masks))


def test_a_mask_of_the_wrong_shape_is_refused_by_name() -> None:
    masks = _masks("plain") | {"fc2.dropout": np.linspace(1, 2, 7)}
    with pytest.raises(VGGError, match=rf"fc2.dropout: got .*\(7,\).*, wanted .*\({COUNT}, 7\)"):
        forward(SPECS["plain"], _params("plain"), _batch("plain")[0], Mode(True, masks))


@pytest.mark.parametrize("bad", [None, np.array([0.5])], ids=["missing", "would_broadcast"])
def test_parameters_that_do_not_fit_are_refused_by_name(bad: Array | None) -> None:
    params = {part: array for part, array in _params("plain").items() if part != "fc2.bias"}
    with pytest.raises(VGGError, match=r"fc2\.bias: got "):
        forward(SPECS["plain"], params if bad is None else params | {"fc2.bias": bad}, _batch("plain")[0])
