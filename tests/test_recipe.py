"""Recipes: the learning-rate schedule, the round trip, and a message for every bad value."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import numpy as np
import pytest

from vgg import Recipe, VGGError
from vgg.core.recipe import recipe, recipe_names

DROPS = Recipe(
    name="drops", epochs=9, lr=0.5, momentum=0.75, weight_decay=1e-4, lr_drops=((2, 0.5), (5, 0.125)), seed=3
)


@pytest.mark.parametrize("epoch", range(9))
def test_the_learning_rate_drops_at_the_given_epochs(epoch: int) -> None:
    assert DROPS.lr_at(epoch) == [0.5, 0.5, 0.25, 0.25, 0.25, 0.0625, 0.0625, 0.0625, 0.0625][epoch]


def test_the_learning_rate_stays_without_drops() -> None:
    assert [Recipe(lr=0.05).lr_at(epoch) for epoch in (0, 7)] == [0.05, 0.05]


@pytest.mark.parametrize("epoch", range(7))
def test_the_order_in_which_drops_are_listed_does_not_matter(epoch: int) -> None:
    assert dataclasses.replace(DROPS, lr_drops=DROPS.lr_drops[::-1]).lr_at(epoch) == DROPS.lr_at(epoch)


@pytest.mark.parametrize("name", recipe_names())
def test_a_named_recipe_bears_its_name(name: str) -> None:
    assert recipe(name).name == name


@pytest.mark.parametrize(
    ("name", "epochs", "lr"), [("chapter-2018", 5, 0.05), ("d2l-0.17", 10, 0.05), ("d2l-1.0", 10, 0.01)]
)
def test_the_chapters_recipes_are_the_chapters(name: str, epochs: int, lr: float) -> None:
    got = recipe(name)
    assert (got.epochs, got.lr, got.batch_size, got.size, got.init) == (epochs, lr, 128, 224, "xavier_uniform")
    assert got.dataset == "fashion-mnist"
    assert (got.momentum, got.weight_decay, got.lr_drops, got.mean, got.std) == (0, 0, (), 0, 1)


def test_a_named_recipe_takes_changes_and_keeps_the_rest() -> None:
    assert recipe("d2l-1.0", lr=0.02, seed=5) == Recipe("d2l-1.0", "fashion-mnist", epochs=10, lr=0.02, seed=5)


@pytest.mark.parametrize("value", [DROPS, *map(recipe, recipe_names())], ids=lambda value: value.name)
def test_a_recipe_survives_a_round_trip_through_json(value: Recipe) -> None:
    assert Recipe.from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(DROPS, dataclasses.fields(DROPS)[0].name, "other")


def test_a_recipe_from_a_file_is_hashable() -> None:
    assert len({DROPS, Recipe.from_dict(json.loads(json.dumps(DROPS.to_dict())))}) == 1


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(VGGError, match=r"unknown recipe 'quik': did you mean quick\?"):
        recipe("quik")


def test_an_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(VGGError, match=r"unknown key in recipe 'epoch': did you mean epochs\?"):
        Recipe.from_dict({"epoch": 3})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("dataset", 3),
        ("epochs", 0),
        ("epochs", 2.0),
        ("epochs", True),
        ("batch_size", -4),
        ("size", "32"),
        ("seed", -1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("lr", "0.1"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("std", 0.0),
        ("mean", "0.3"),
        ("mean", float("nan")),
        ("lr_drops", 3),
        ("lr_drops", [3]),
        ("lr_drops", [["two", 0.1]]),
        ("lr_drops", [[2.5, 0.1]]),
        ("lr_drops", [[2, -0.1]]),
        ("lr_drops", [[10**5000, 0.1]]),
        ("lr_drops", [[1, 0.1]] * 20_000),
        ("plateau", [0.1, 5, 5]),
        ("epochs", 10**12),
        ("batch_size", 10**5000),
        ("size", 10**9),
        ("seed", 10**30),
        ("seed", 10**5000),
        ("lr", 10**400),
        ("name", "x" * 1000),
        ("init", "\ud800"),
        ("init_from", "x" * 5000),
        ("dropout", ["native"]),
        ("precision", np.array(["float32", "tf32"])),
        ("flip", 1),
    ],
    ids=lambda value: (
        type(value).__name__ if not isinstance(value, str) else value[:20].encode("ascii", "replace").decode()
    ),
)
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(VGGError, match=rf"recipe\.{field}: got .*, wanted "):
        Recipe.from_dict({field: value})


def test_the_papers_recipe_is_the_papers() -> None:
    got = recipe("paper")
    assert (got.batch_size, got.lr, got.momentum, got.weight_decay, got.epochs) == (256, 0.01, 0.9, 5e-4, 74)
    assert (got.plateau, got.init_convs, got.crop, got.flip) == ((0.1, 5), 4, 224 / 256, True)


@pytest.mark.parametrize(
    ("accuracies", "wanted"),
    [
        ([], 1.0),
        ([0.5, 0.6], 1.0),
        ([0.5, 0.5, 0.5], 0.1),
        ([0.5, 0.4, 0.6, 0.6, 0.6], 0.1),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 0.01),
    ],
)
def test_a_plateau_is_so_many_epochs_without_a_better_one(accuracies: list[float], wanted: float) -> None:
    plateau = Recipe(lr=1.0, validation=0.1, plateau=(0.1, 2))
    assert plateau.lr_at(len(accuracies), accuracies) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("validation", 1.0, r"a number in \[0, 1\)"),
        ("crop", 0, r"a number in \(0, 1\]"),
        ("flip", "yes", "False or True"),
        ("plateau", (2.0, 5), r"nothing, or \(factor in \(0, 1\), patience >= 1\)"),
        ("plateau", 0.1, "nothing, or"),
        ("precision", "int8", "float64 or float32 or tf32 or bf16 or fp16"),
        ("init_convs", -1, "an integer >= 0"),
    ],
)
def test_a_bad_value_of_the_newer_fields_is_named(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(VGGError, match=rf"^recipe\.{field}: got .*, wanted {wanted}"):
        Recipe(**{field: value})


def test_numpys_numbers_are_numbers() -> None:
    floats: dict[str, Any] = {
        name: np.float32(0.5) for name in ("lr", "momentum", "weight_decay", "mean", "std", "crop", "validation")
    }
    wholes: dict[str, Any] = {name: np.int64(3) for name in ("epochs", "batch_size", "size", "seed", "init_convs")}
    plain: dict[str, Any] = {**{n: float(v) for n, v in floats.items()}, **{n: int(v) for n, v in wholes.items()}}
    more: dict[str, Any] = {
        "flip": np.bool_(True),
        "lr_drops": np.array([[2, 4]]),
        "plateau": (np.float64(0.5), np.int8(3)),
    }
    got = Recipe(**floats, **wholes, **more)
    assert got == Recipe(**plain, flip=True, lr_drops=((2, 4.0),), plateau=(0.5, 3))
    assert json.loads(json.dumps(got.to_dict())) == json.loads(json.dumps(Recipe.from_dict(got.to_dict()).to_dict()))


def test_a_recipe_of_a_wrong_type_is_refused() -> None:
    five, nothing = cast("tuple[Any, Any]", (5, []))
    with pytest.raises(VGGError, match="recipe: got 5, wanted a table of named values"):
        Recipe.from_dict(five)
    with pytest.raises(VGGError, match="unknown recipe"):
        recipe(nothing)
    with pytest.raises(VGGError, match="did you mean epochs"):
        recipe("quick", epoch=1)


@pytest.mark.parametrize(("epoch", "accuracies"), [("x", ()), (-1, ()), (1, 5), (1, ["x"])])
def test_a_learning_rate_of_no_epoch_is_refused(epoch: Any, accuracies: Any) -> None:
    with pytest.raises(VGGError):
        Recipe().lr_at(epoch, accuracies)
