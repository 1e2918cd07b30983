"""Checkpoints that are damaged, half-written or old; and weights to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vgg import Recipe, Spec, VGGError, arch, init, save_params
from vgg.training.checkpoints import Checkpoints, initial

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


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, 2).last() is None


@pytest.mark.parametrize("content", [b"", b"half", b"\x80\x04N."], ids=["empty", "torn", "pickle"])
def test_one_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    Checkpoints(tmp_path, 2).save(STATE, (1, 0), A)
    path = Checkpoints(tmp_path, 2).paths()[-1]
    path.write_bytes(content)
    with pytest.raises(VGGError, match=rf"{path.name}: not a readable checkpoint .*; remove it to go on"):
        Checkpoints(tmp_path, 2).last()


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
