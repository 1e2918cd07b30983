"""Canonical parameters: names and shapes, bit-exact initial values and their distributions, files that never lie."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from vgg import Block, Conv, Head, Pool, Spec, VGGError, init, load_params, load_spec, save_params, shapes
from vgg.core.init import SCHEMES
from vgg.core.params import Params, check_params
from vgg.core.philox import _log

TINY = Spec(
    blocks=(
        Block((Conv(5, lrn=True), Conv(7, kernel=1, padding=0)), Pool(3, 2)),
        Block((Conv(4, kernel=2, padding=0),), None),
        Block((Conv(6), Conv(3, kernel=5, stride=2, padding=2)), None),
    ),
    input_shape=(2, 9, 14),
    classes=4,
    head=Head((11,), 0.25),
    batch_norm=True,
)
# sha256 over names and little-endian float64 bytes of init(TINY, seed=7), in order
GOLDEN = {
    "xavier_uniform": "4f6918d626ec0b4dd12c9c0b618e5001b65ead669a6f42bc6060a6771ddee6ac",
    "he_uniform": "0edda4328a4f3d902a266cbd2761605c119e995dcce68c8bec6b8d413dce91f5",
    "he_normal": "4c9bff185328a37a34201507a2ca8f475b014ff2e57016b48ca7e30a3785ee94",
    "lecun_normal": "6813accc5cca78448e9899edb3876dad38cf223c10e72966a5bbbb148c08d528",
    "paper": "c47848640696a61f7371851006982437bc0190bc11f4826346223620833ed453",
    "torch": "954940a21fa0f71b9264388c7b585496af3f67f85460b3fff00923702e8b02c4",
    "tensorflow": "4f6918d626ec0b4dd12c9c0b618e5001b65ead669a6f42bc6060a6771ddee6ac",
    "jax": "6813accc5cca78448e9899edb3876dad38cf223c10e72966a5bbbb148c08d528",
    "mxnet": "3c66e1a176af182486187e5294897e7b093affae588ac5d54ef7f73d51a646b0",
}
WIDE = Spec.from_blocks(((1, 61), (1, 127)), input_shape=(3, 5, 8), head=Head((), 0, global_pool=True))
FAN_IN, FAN_OUT = 61 * 9, 127 * 9  # of WIDE's block2.conv1.weight
UNIFORM = {  # scheme -> limit
    "xavier_uniform": math.sqrt(6 / (FAN_IN + FAN_OUT)),
    "tensorflow": math.sqrt(6 / (FAN_IN + FAN_OUT)),
    "he_uniform": math.sqrt(6 / FAN_IN),
    "torch": 1 / math.sqrt(FAN_IN),  # kaiming_uniform with a = sqrt(5)
    "mxnet": 0.07,
}
NORMAL = {"he_normal": math.sqrt(2 / FAN_IN), "paper": 0.1}  # scheme -> standard deviation
TRUNCATED = {"lecun_normal": 1 / math.sqrt(FAN_IN), "jax": 1 / math.sqrt(FAN_IN)}
STD = {scheme: limit / math.sqrt(3) for scheme, limit in UNIFORM.items()} | NORMAL | TRUNCATED


def _digest(params: Params) -> str:
    parts = (name.encode() + array.astype("<f8").tobytes() for name, array in params.items())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _bytes(params: Params) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in params.items()}


@cache
def _wide(scheme: str) -> NDArray[np.float64]:
    return init(WIDE, 3, scheme, "float64")["block2.conv1.weight"].astype(np.float64).ravel()


def _file(path: Path, params: Params, spec: Spec) -> Path:
    path.write_bytes(save(dict(params), metadata={"spec": spec.to_json()}))
    return path


def test_shapes_are_the_ones_written_out_by_hand_in_order() -> None:
    def norm(name: str, channels: int) -> list[tuple[str, tuple[int, ...]]]:
        return [(f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var")]

    assert list(shapes(TINY).items()) == [
        ("block1.conv1.weight", (5, 2, 3, 3)),
        ("block1.conv1.bias", (5,)),
        *norm("block1.bn1", 5),
        ("block1.conv2.weight", (7, 5, 1, 1)),
        ("block1.conv2.bias", (7,)),
        *norm("block1.bn2", 7),
        ("block2.conv1.weight", (4, 7, 2, 2)),
        ("block2.conv1.bias", (4,)),
        *norm("block2.bn1", 4),
        ("block3.conv1.weight", (6, 4, 3, 3)),
        ("block3.conv1.bias", (6,)),
        *norm("block3.bn1", 6),
        ("block3.conv2.weight", (3, 6, 5, 5)),
        ("block3.conv2.bias", (3,)),
        *norm("block3.bn2", 3),
        ("fc1.weight", (11, 3 * 2 * 3)),
        ("fc1.bias", (11,)),
        ("fc2.weight", (4, 11)),
        ("fc2.bias", (4,)),
    ]


def test_every_scheme_is_pinned() -> None:
    assert GOLDEN.keys() == SCHEMES.keys() == STD.keys()


@pytest.mark.parametrize("scheme", GOLDEN)
def test_initial_values_are_bit_exact(scheme: str) -> None:
    assert _digest(init(TINY, 7, scheme, "float64")) == GOLDEN[scheme]


@pytest.mark.parametrize("scheme", GOLDEN)
def test_float32_is_float64_rounded(scheme: str) -> None:
    rounded: Params = {name: array.astype(np.float32) for name, array in init(TINY, 7, scheme, "float64").items()}
    assert _bytes(init(TINY, 7, scheme, "float32")) == _bytes(rounded)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_values_have_the_dtype_and_shape_asked_for(dtype: str) -> None:
    params = init(TINY, dtype=dtype)
    assert {name: (array.dtype.name, array.shape) for name, array in params.items()} == {
        name: (dtype, shape) for name, shape in shapes(TINY).items()
    }


@pytest.mark.parametrize(
    "other",
    [
        TINY.modified(hidden=[13, 6], dropout=0.0, classes=9),
        TINY.modified(input_shape=(2, 13, 10)),
        TINY.modified(batch_norm=False),
    ],
    ids=["head", "input", "batch_norm"],
)
def test_changing_the_rest_leaves_the_convolutions_as_they_were(other: Spec) -> None:
    ours, theirs = ({n: b for n, b in _bytes(init(s, 7)).items() if ".conv" in n} for s in (TINY, other))
    assert ours == theirs


def test_two_seeds_share_no_weight() -> None:
    one, two = init(TINY.modified(batch_norm=False), 7), init(TINY.modified(batch_norm=False), 8)
    assert not any(np.isin(one[name], two[name]).any() for name in one if name.endswith(".weight"))


def test_two_layers_of_one_shape_share_no_weight() -> None:
    params = init(Spec.from_blocks(((2, 3),), input_shape=(3, 5, 8)))
    assert not np.isin(params["block1.conv1.weight"], params["block1.conv2.weight"]).any()


def test_a_layer_larger_than_a_chunk_of_bits_never_repeats_itself() -> None:
    assert len(np.unique(_wide("he_uniform"))) == 127 * 61 * 9


@pytest.mark.parametrize("scheme", STD)
def test_weights_have_mean_zero_within_five_standard_errors(scheme: str) -> None:
    weights = _wide(scheme)
    assert abs(weights.mean()) < 5 * STD[scheme] / math.sqrt(weights.size)


@pytest.mark.parametrize("scheme", STD)
def test_weights_have_the_schemes_deviation_within_five_standard_errors(scheme: str) -> None:
    weights = _wide(scheme)
    # A deviation's relative standard error is sqrt((kurtosis - 1) / 4n), and no kurtosis here is above 3.
    assert abs(weights.std() / STD[scheme] - 1) < 5 * math.sqrt(2 / (4 * weights.size))


@pytest.mark.parametrize("scheme", UNIFORM)
def test_uniform_weights_fill_their_interval_and_stay_in_it(scheme: str) -> None:
    weights, limit = _wide(scheme), UNIFORM[scheme]
    inner = limit * (1 - 20 / weights.size)  # both ends are missed with probability 2 exp(-10)
    assert -limit <= weights.min() < -inner
    assert inner < weights.max() <= limit


@pytest.mark.parametrize("scheme", UNIFORM)
def test_uniform_weights_are_flat(scheme: str) -> None:
    weights = _wide(scheme)
    counts, _ = np.histogram(weights, bins=10, range=(-UNIFORM[scheme], UNIFORM[scheme]))
    assert np.abs(counts - weights.size / 10).max() < 5 * math.sqrt(weights.size * 0.1 * 0.9)


@pytest.mark.parametrize("scheme", NORMAL)
@pytest.mark.parametrize("sigmas", [0.5, 1.0, 2.0, 3.0])
def test_normal_weights_have_a_normals_tails(scheme: str, sigmas: float) -> None:
    inside = np.abs(_wide(scheme)) < sigmas * NORMAL[scheme]
    wanted = math.erf(sigmas / math.sqrt(2))
    assert abs(inside.mean() - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / inside.size)


@pytest.mark.parametrize("scheme", TRUNCATED)
def test_truncated_weights_reach_two_deviations_of_the_uncut_normal_and_no_further(scheme: str) -> None:
    # The variance of a normal cut at +-2 is 1 - 4 phi(2) / erf(sqrt 2), phi its density.
    variance = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
    limit = 2 * TRUNCATED[scheme] / math.sqrt(variance)
    assert 0.99 * limit < np.abs(_wide(scheme)).max() <= limit * (1 + 1e-12)


@pytest.mark.parametrize("scheme", sorted(STD.keys() - {"torch"}))
def test_biases_start_at_zero(scheme: str) -> None:
    assert not init(WIDE, 3, scheme)["block2.conv1.bias"].any()


def test_torch_biases_fill_the_interval_of_their_weights() -> None:
    bias = init(WIDE, 3, "torch", "float64")["block2.conv1.bias"]
    assert 0.9 * UNIFORM["torch"] < np.abs(bias).max() <= UNIFORM["torch"]


@pytest.mark.parametrize(("part", "value"), [("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)])
@pytest.mark.parametrize("scheme", ["torch", "paper"])
def test_batch_norm_starts_as_the_identity(scheme: str, part: str, value: float) -> None:
    np.testing.assert_array_equal(init(TINY, 7, scheme)[f"block1.bn2.{part}"], np.full(7, value))


def test_the_logarithm_is_numpys_within_a_few_ulps() -> None:
    rng = np.random.default_rng(5)
    near_one = 1 + np.array([-(2.0**-k) for k in range(1, 53)] + [2.0**-k for k in range(1, 52)])
    x = np.concatenate([rng.random(9999), 2.0 ** rng.uniform(-104, 3, 9999), 2.0 ** np.arange(-104, 4), near_one])
    np.testing.assert_allclose(_log(x), np.log(x), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": "xavier"}, r"unknown initialiser 'xavier': did you mean xavier_uniform\?"),
        ({"seed": -1}, "seed: got -1, wanted an integer >= 0"),
        ({"seed": 1.5}, "seed: got 1.5, wanted an integer >= 0"),
        ({"seed": True}, "seed: got True, wanted an integer >= 0"),
        ({"seed": 2**64}, "seed: got 18446744073709551616, wanted at most"),
        ({"scheme": ["torch"]}, "unknown initialiser"),
        ({"dtype": np.float32}, "dtype: got .*float32.*, wanted float32 or float64"),
        ({"dtype": "int32"}, "dtype"),
        ({"dtype": "flaot32"}, "dtype"),
    ],
)
def test_a_bad_wish_for_initial_values_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VGGError, match=message):
        init(TINY, **changes)


@pytest.mark.parametrize("seed", [np.int64(7), np.uint8(7), np.array(7)])
def test_numpys_integers_are_seeds(seed: Any) -> None:
    assert _bytes(init(TINY, seed)) == _bytes(init(TINY, 7))


def test_parameters_beyond_every_memory_are_refused() -> None:
    wide = Spec.from_blocks(((1, 10**7),), input_shape=(10**7, 8, 8), head=Head(()))
    with pytest.raises(VGGError, match=r"spec: got 900,[0-9,]+ parameters, wanted as many as fit the memory"):
        init(wide)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (5, "parameters: got 5, wanted a dictionary of arrays"),
        ({"block1.conv1.weight": [1.0]}, r"block1.conv1.weight: got \[1.0\], wanted an array of shape"),
    ],
)
def test_parameters_of_a_wrong_type_are_refused(params: Any, message: str) -> None:
    with pytest.raises(VGGError, match=message):
        check_params(params, TINY)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_file_gives_back_every_bit(dtype: str, tmp_path: Path) -> None:
    params = init(TINY, 7, "torch", dtype)
    params["fc2.bias"] = np.array([-0.0, np.nan, np.inf, np.finfo(dtype).smallest_subnormal], dtype)
    save_params(tmp_path / "w.safetensors", params, TINY)
    assert _bytes(load_params(tmp_path / "w.safetensors")) == _bytes(params)


def test_a_file_gives_back_its_spec(tmp_path: Path) -> None:
    spec = dataclasses.replace(TINY, name='an "odd" näme')
    save_params(tmp_path / "w.safetensors", init(spec), spec)
    assert load_spec(tmp_path / "w.safetensors") == spec


def test_a_file_gives_back_the_order_of_the_layer_table(tmp_path: Path) -> None:
    save_params(tmp_path / "w.safetensors", dict(reversed(init(TINY).items())), TINY)
    assert list(load_params(tmp_path / "w.safetensors")) == list(shapes(TINY))


@pytest.mark.parametrize("form", ["fortran", "big_endian"])
def test_a_file_keeps_values_whatever_the_memory_layout(form: str, tmp_path: Path) -> None:
    params = init(TINY, 7)
    laid = {n: np.asfortranarray(a) if form == "fortran" else a.astype(">f4") for n, a in params.items()}
    save_params(tmp_path / "w.safetensors", laid, TINY)
    assert _bytes(load_params(tmp_path / "w.safetensors")) == _bytes(params)


def test_a_missing_name_is_refused() -> None:
    params = init(TINY)
    del params["block3.conv2.weight"]
    with pytest.raises(VGGError, match=r"block3.conv2.weight: got nothing, wanted an array of shape \(3, 6, 5, 5\)"):
        check_params(params, TINY)


def test_the_first_of_many_missing_names_is_the_one_reported() -> None:
    with pytest.raises(VGGError, match=r"block1.conv1.weight: got nothing"):
        check_params({}, TINY)


def test_an_extra_name_is_refused_with_a_suggestion() -> None:
    params = init(TINY)
    params["fc2.wieght"] = params["fc2.weight"]
    with pytest.raises(VGGError, match=r"unknown parameter in here 'fc2.wieght': did you mean fc2.weight\?"):
        check_params(params, TINY, "here")


def test_a_wrong_shape_is_refused_in_the_house_form() -> None:
    params = init(TINY)
    params["block3.conv2.weight"] = params["block3.conv2.weight"].transpose(2, 3, 1, 0)
    with pytest.raises(VGGError, match=r"block3.conv2.weight: got \(5, 5, 6, 3\), wanted \(3, 6, 5, 5\)"):
        check_params(params, TINY)


def test_a_file_whose_arrays_do_not_fit_its_spec_is_refused_by_path(tmp_path: Path) -> None:
    path = _file(tmp_path / "w.safetensors", init(TINY), TINY.modified(input_shape=(2, 17, 14)))
    with pytest.raises(VGGError) as caught:
        load_params(path)
    assert str(caught.value) == f"{path}: fc1.weight: got (11, 18), wanted (11, 36)"


@pytest.mark.parametrize("keep", [0, 30, -7], ids=["empty", "in_the_header", "in_the_data"])
def test_a_truncated_file_is_refused_by_path(keep: int, tmp_path: Path) -> None:
    path = _file(tmp_path / "w.safetensors", init(TINY), TINY)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VGGError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}: not a readable safetensors file (")


@pytest.mark.parametrize("content", [None, b"# not weights at all\n"], ids=["missing", "text"])
def test_a_file_that_is_no_safetensors_is_refused_by_path(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VGGError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}: not a readable safetensors file (")


def test_a_file_without_a_spec_is_refused_by_path(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(dict(init(TINY))))
    with pytest.raises(VGGError) as caught:
        load_params(path)
    assert str(caught.value).startswith(
        f"{path}: got safetensors without a spec, wanted a file of weights written by vgg"
    )


def test_a_file_with_a_bad_spec_is_refused_by_path(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save(dict(init(TINY)), metadata={"spec": '{"blocks": 3}'}))
    with pytest.raises(VGGError) as caught:
        load_params(path)
    assert (
        str(caught.value) == f"{path}: spec in its metadata: blocks: got 3, wanted a list; write it by vgg.save_params"
    )


def test_a_place_that_does_not_exist_is_refused_by_path(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "w.safetensors"
    with pytest.raises(VGGError) as caught:
        save_params(path, init(TINY), TINY)
    assert str(caught.value).startswith(f"{path}: cannot be written (No such file or directory)")


def test_a_place_that_is_a_directory_is_refused_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(VGGError, match="folder: cannot be written"):
        save_params(path, init(TINY), TINY)
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_that_do_not_fit_are_not_written_over_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_params(path, init(TINY, 7), TINY)
    with pytest.raises(VGGError):
        save_params(path, init(TINY.modified(classes=9), 8), TINY)
    assert _bytes(load_params(path)) == _bytes(init(TINY, 7))


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("fault", "seen"), [(OSError(28, "disk full"), VGGError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_save_that_fails_midway_leaves_the_old_file_and_no_other(
    step: str, fault: BaseException, seen: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise fault

    path = tmp_path / "w.safetensors"
    save_params(path, init(TINY, 7), TINY)
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(seen):
        save_params(path, init(TINY, 8), TINY)
    assert list(tmp_path.iterdir()) == [path]
    assert _bytes(load_params(path)) == _bytes(init(TINY, 7))


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    save_params(tmp_path / "w.safetensors", init(TINY), TINY)
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
