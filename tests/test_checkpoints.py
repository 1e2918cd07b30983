"""Checkpoints that are damaged, half-written or old; and weights to start from."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from vgg import Recipe, Spec, VGGError, arch, init, save_params
from vgg.training.batches import Place
from vgg.training.checkpoints import Checkpoints, initial, place_of
from vgg.training.fingerprint import fingerprint

STATE = {"fc1.weight": np.arange(6.0).reshape(2, 3), "step": np.array(7)}
SMALL: dict[str, Any] = {"narrow": 16, "input_shape": (1, 64, 64), "hidden": (12, 12), "classes": 5}
A, D = arch("vgg11", **SMALL), arch("vgg16", **SMALL)


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    Checkpoints(tmp_path, 2).save(STATE, (3, 14), A)
    found = Checkpoints(tmp_path, 2).last()
    assert found
    assert found[1] == (3, 14)
    assert {name: array.tobytes() for name, array in found[0].items()} == {n: a.tobytes() for n, a in STATE.items()}


def test_the_newest_is_the_one_furthest_on(tmp_path: Path) -> None:
    for place in ((2, 0), (9, 999_999), (10, 0), (10, 2)):
        Checkpoints(tmp_path, 9).save(STATE, place, A)
    found = Checkpoints(tmp_path, 9).last()
    assert found
    assert found[1] == (10, 2)


PLACES = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))


@settings(derandomize=True, max_examples=30, deadline=None)
@given(places=st.lists(PLACES, min_size=2, max_size=6, unique=True), keep=st.integers(1, 4))
@example(places=[(9998, 0), (9999, 0), (10_000, 0), (10_001, 0)], keep=2)
@example(places=[(3, 999_999), (3, 1_000_000)], keep=1)
def test_the_newest_are_kept_and_read_whatever_their_names_sort_as(places: list[Place], keep: int) -> None:
    with TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), keep)
        for place in sorted(places):
            checkpoints.save(STATE, place, A)
        assert [place_of(path.name) for path in checkpoints.paths()] == sorted(places)[-keep:]
        last = checkpoints.last()
        assert last
        assert last[1] == checkpoints.place() == max(places)


@pytest.mark.parametrize(
    "name",
    [
        "epoch-best.safetensors",
        "epoch-0001-step-000000 (copy).safetensors",
        "epoch-1-step-0.safetensors",
        "epoch-00002-step-000000.safetensors",
        "epoch-\u0661\u0661\u0661\u0661-step-000000.safetensors",
        "epoch-9999-step-000000.safetensors.bak",
        "notes.txt",
        "-9999-",
    ],
)
def test_a_stray_name_is_not_a_checkpoint_and_stays(tmp_path: Path, name: str) -> None:
    Checkpoints(tmp_path, 1).save(STATE, (1, 0), A)
    (tmp_path / "checkpoints" / name).write_text("mine")
    Checkpoints(tmp_path, 1).save(STATE, (2, 0), A)
    last = Checkpoints(tmp_path, 1).last()
    assert last
    assert last[1] == (2, 0)
    assert (tmp_path / "checkpoints" / name).read_text() == "mine"


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, 2).last() is None


@pytest.mark.parametrize("content", [b"", b"half", b"\x80\x04N."], ids=["empty", "torn", "pickle"])
def test_one_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    Checkpoints(tmp_path, 2).save(STATE, (1, 0), A)
    path = Checkpoints(tmp_path, 2).paths()[-1]
    path.write_bytes(content)
    with pytest.raises(VGGError, match=rf"{path.name}: not a readable checkpoint .*; remove it to go on"):
        Checkpoints(tmp_path, 2).last()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
@pytest.mark.parametrize("name", ["epoch-0001-step-000000.safetensors", "epoch-0003-step-000000.safetensors"])
def test_one_of_another_type_is_named(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    Checkpoints(tmp_path, 2).save(STATE, (2, 0), A)
    make(tmp_path / "checkpoints" / name)
    with pytest.raises(VGGError, match=name):
        Checkpoints(tmp_path, 2).last()


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "BF16", "X"])
def test_dtypes_that_numpy_has_not_are_refused(tmp_path: Path, kind: str) -> None:
    header = {"__metadata__": {"place": "[1, 0]"}, "step": {"dtype": kind, "shape": [0], "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "epoch-0001-step-000000.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(VGGError, match=path.name):
        Checkpoints(tmp_path, 2).last()


def test_a_checkpoint_with_a_fingerprint_has_a_checksum(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1, fingerprint(A, RECIPE, DATA))
    checkpoints.save(STATE, (1, 0), A)
    path = checkpoints.paths()[0]
    with safe_open(path, framework="numpy") as file:
        about = {name: value for name, value in file.metadata().items() if name != "checksum"}
    save_file(load_file(path), path, metadata=about)
    with pytest.raises(VGGError, match=r"checksum: got None, wanted [0-9a-f]{12}; its contents were changed"):
        checkpoints.last()


def test_weights_that_a_dtype_cannot_hold_are_refused_by_name(tmp_path: Path) -> None:
    params = {name: array * 1e300 for name, array in init(A, dtype="float64").items()}
    save_params(tmp_path / "large.safetensors", params, A)
    with pytest.raises(VGGError, match=r"large.safetensors, as float32: block1.conv1.weight: got \d+ of"):
        initial(A, Recipe(init_from=str(tmp_path / "large.safetensors")))


RECIPE = Recipe("quick", "digits", lr_drops=((3, 0.1),))
DATA: dict[str, Any] = {"train_images": np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), "train_labels": np.arange(3)}


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1, fingerprint(A, RECIPE, DATA))
    checkpoints.save(STATE, (1, 0), A)
    path, right = checkpoints.paths()[0], checkpoints.last()
    whole, noticed = path.read_bytes(), 0
    assert right
    for place in random.Random(0).sample(range(len(whole)), 300):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            state, where = checkpoints.last() or ({}, (0, 0))
        except VGGError as error:
            noticed += path.name in str(error)
        else:  # blanks at the end of the header, which say nothing
            assert where == right[1]
            assert {n: a.tobytes() for n, a in state.items()} == {n: a.tobytes() for n, a in right[0].items()}
            noticed += 1
    assert noticed == 300


@pytest.mark.parametrize(
    ("spec", "recipe", "data", "message"),
    [
        (A, replace(RECIPE, seed=3), DATA, "recipe.seed: got 0, wanted 3"),
        (A, replace(RECIPE, batch_size=9), DATA, "recipe.batch_size: got 128, wanted 9"),
        (A, replace(RECIPE, dropout="neutral"), DATA, "recipe.dropout: got native, wanted neutral"),
        (A, replace(RECIPE, precision="float64"), DATA, "recipe.precision: got float32, wanted float64"),
        (A, replace(RECIPE, lr_drops=((3, 0.5),)), DATA, r"recipe.lr_drops\[0\]\[1\]: got 0.1, wanted 0.5"),
        (A, replace(RECIPE, lr_drops=()), DATA, r"recipe.lr_drops\[0\]\[0\]: got 3, wanted nothing; "),
        (A.modified(dropout=0.25), RECIPE, DATA, "spec.head.dropout: got 0.5, wanted 0.25"),
        (A.modified(classes=6), RECIPE, DATA, "spec.classes: got 5, wanted 6"),
        (A.modified(narrow=2), RECIPE, DATA, r"spec.blocks\[0\].convs\[0\].channels: got 4, wanted 2; .*; \d+ more"),
        (A, RECIPE, {**DATA, "train_labels": np.arange(3)[::-1]}, "data: got [0-9a-f]{12}, wanted [0-9a-f]{12}"),
        (A, RECIPE, {**DATA, "train_images": DATA["train_images"][:, :, ::-1]}, "data: got"),
        (A, RECIPE, {**DATA, "train_images": DATA["train_images"].reshape(3, 1, 4, 1)}, "data: got"),
        (A, RECIPE, {**DATA, "train_labels": np.arange(3, dtype=np.int32)}, "data: got"),
        (A, replace(RECIPE, seed=3, lr=0.5), DATA, "recipe.lr: got 0.01, wanted 0.5; recipe.seed: got 0, wanted 3"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_the_name_of_what_differs(
    tmp_path: Path, spec: Spec, recipe: Recipe, data: dict[str, Any], message: str
) -> None:
    Checkpoints(tmp_path, 1, fingerprint(A, RECIPE, DATA)).save(STATE, (1, 0), A)
    with pytest.raises(VGGError, match=rf"epoch-0001-step-000000.safetensors: {message}.*; it belongs to another run"):
        Checkpoints(tmp_path, 1, fingerprint(spec, recipe, data)).last()


def test_names_and_more_epochs_make_no_other_run(tmp_path: Path) -> None:
    Checkpoints(tmp_path, 1, fingerprint(A, RECIPE, DATA)).save(STATE, (1, 0), A)
    spec, recipe = replace(A, name="mine"), replace(RECIPE, name="mine", epochs=99)
    assert Checkpoints(tmp_path, 1, fingerprint(spec, recipe, dict(reversed(DATA.items())))).last()


@pytest.mark.parametrize("metadata", [{}, {"spec": A.to_json()}], ids=["place", "place and spec"])
def test_a_checkpoint_of_an_earlier_version_has_no_fingerprint_and_is_read(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "epoch-0003-step-000014.safetensors"
    save_file(STATE, path, metadata={"place": "[3, 14]", **metadata})
    last = Checkpoints(tmp_path, 1, fingerprint(A, RECIPE, DATA)).last()
    assert last
    assert last[1] == (3, 14)


@pytest.mark.parametrize("place", ["[2, 0]", "[3]", "3", "null", "[[3], [14]]", "[3, 14, 0]", "three"])
def test_a_place_that_is_not_that_of_the_name_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "epoch-0003-step-000014.safetensors"
    save_file(STATE, path, metadata={"place": place, "spec": A.to_json()})
    with pytest.raises(VGGError, match=path.name):
        Checkpoints(tmp_path, 1).last()


# Weights to start from


@pytest.fixture
def weights(tmp_path: Path) -> str:
    save_params(tmp_path / "a.safetensors", init(A, seed=9), A)
    return str(tmp_path / "a.safetensors")


def taken(spec: Spec, recipe: Recipe) -> set[str]:
    """The layers that do not start as they would have."""
    started, drawn = initial(spec, recipe), init(spec, recipe.seed, recipe.init)
    return {name.removesuffix(".weight") for name in drawn if (started[name] != drawn[name]).any()}


def test_a_checkpoint_will_do(tmp_path: Path) -> None:
    params = init(A, seed=9)
    state = {**params, **{f"velocity/{name}": a for name, a in params.items()}, "step": np.array(7)}
    Checkpoints(tmp_path, 1).save(state, (1, 0), A)
    started = initial(A, Recipe(init_from=str(Checkpoints(tmp_path, 1).paths()[-1])))
    assert {name: a.tobytes() for name, a in started.items()} == {name: a.tobytes() for name, a in params.items()}


def test_a_checkpoint_that_was_changed_will_not_do(tmp_path: Path) -> None:
    Checkpoints(tmp_path, 1).save({**init(A, seed=9), "step": np.array(7)}, (1, 0), A)
    path = Checkpoints(tmp_path, 1).paths()[-1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(VGGError, match=r"checksum: got [0-9a-f]{12}, wanted [0-9a-f]{12}; its contents were changed"):
        initial(A, Recipe(init_from=str(path)))


def test_a_deeper_net_starts_from_the_first_four_convolutions_and_the_dense_layers_of_a(weights: str) -> None:
    """Section 3.1 of the paper."""
    convs = {"block1.conv1", "block2.conv1", "block3.conv1", "block3.conv2"}
    assert taken(D, Recipe(init_from=weights, init_convs=4)) == convs | {"fc1", "fc2", "fc3"}


def test_all_that_fits_is_taken_unless_told_otherwise(weights: str) -> None:
    convs = {name.removesuffix(".weight") for name in init(A) if ".conv" in name and name.endswith(".weight")}
    assert taken(D, Recipe(init_from=weights)) == convs | {"fc1", "fc2", "fc3"}
    assert taken(D.modified(classes=9), Recipe(init_from=weights)) == convs | {"fc1", "fc2"}


def test_batch_norm_goes_with_its_convolution(tmp_path: Path) -> None:
    spec = A.modified(batch_norm=True)
    trained = {name: array + 1 for name, array in init(spec, seed=9).items()}
    save_params(tmp_path / "bn.safetensors", trained, spec)
    started = initial(spec, Recipe(init_from=str(tmp_path / "bn.safetensors"), init_convs=1))
    kept = {name for name, array in started.items() if (array == trained[name]).all()}
    assert {name.rpartition(".")[0] for name in kept} == {"block1.conv1", "block1.bn1", "fc1", "fc2", "fc3"}


def test_weights_of_which_nothing_fits_are_refused(weights: str) -> None:
    with pytest.raises(VGGError, match="got no layer of the same name and shape, wanted one of alexnet's"):
        initial(arch("alexnet", **SMALL | {"input_shape": (1, 67, 67), "hidden": (11,)}), Recipe(init_from=weights))


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(VGGError, match=r"nowhere\.safetensors: not a readable safetensors file"):
        initial(A, Recipe(init_from=str(tmp_path / "nowhere.safetensors")))
