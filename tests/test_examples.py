"""The neutral split, crops and flips: what they are, and that nothing but seed, epoch and step matters."""

from __future__ import annotations

import numpy as np
import pytest

from vgg import Recipe, VGGError
from vgg.training import data
from vgg.training.batches import augmented, centred, split

IMAGES = data.load("synthetic").train_images[:64]
CROP, FLIP = Recipe(crop=0.75), Recipe(flip=True)


@pytest.mark.parametrize(("count", "share", "held"), [(20, 0.0, 0), (20, 0.1, 2), (7, 0.5, 4)])
def test_a_split_takes_every_example_once(count: int, share: float, held: int) -> None:
    train, validation = split(count, share, seed=3)
    assert len(validation) == held
    assert sorted([*train, *validation]) == list(range(count))


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_split_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(VGGError, match="of 5 images, wanted some to train and some to validate on"):
        split(5, share, seed=0)


def test_without_validation_the_order_is_the_datas() -> None:
    assert split(9, 0.0, seed=3)[0].tolist() == list(range(9))


def test_another_seed_holds_out_others() -> None:
    assert split(100, 0.3, seed=0)[1].tolist() != split(100, 0.3, seed=1)[1].tolist()


def test_a_plain_recipe_leaves_images_alone() -> None:
    assert augmented(IMAGES, Recipe(), 0, 0) is IMAGES


@pytest.mark.parametrize("recipe", [CROP, FLIP, Recipe(crop=0.75, flip=True)], ids=["crop", "flip", "both"])
def test_every_image_is_a_window_of_itself_or_of_its_mirror_image(recipe: Recipe) -> None:
    changed = augmented(IMAGES, recipe, epoch=1, step=2)
    _, _, height, width = changed.shape
    for image, found in zip(IMAGES, changed, strict=True):
        whole = [image, image[:, :, ::-1]] if recipe.flip else [image]
        windows = (np.lib.stride_tricks.sliding_window_view(one, (height, width), (1, 2)) for one in whole)
        assert any((window == found[:, None, None]).all(axis=(0, 3, 4)).any() for window in windows)


def test_half_of_the_images_are_flipped() -> None:
    flips = [(augmented(IMAGES, FLIP, 0, step) == IMAGES[..., ::-1]).all(axis=(1, 2, 3)).mean() for step in range(20)]
    assert np.mean(flips) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(20 * len(IMAGES)))


def test_crops_reach_every_corner() -> None:
    ramp = np.broadcast_to(np.arange(24 * 20, dtype=np.uint16).reshape(24, 20), (256, 1, 24, 20))
    corners = augmented(ramp, CROP, 0, 0)[:, 0, 0, 0]
    assert set(corners // 20) == set(range(24 - 18 + 1))
    assert set(corners % 20) == set(range(20 - 15 + 1))


@pytest.mark.parametrize("place", [(0, 1), (1, 0)])
def test_another_step_or_epoch_crops_otherwise_and_the_same_one_alike(place: tuple[int, int]) -> None:
    first = augmented(IMAGES, CROP, 0, 0)
    assert (augmented(IMAGES, CROP, 0, 0) == first).all()
    assert (augmented(IMAGES, CROP, *place) != first).any()


def test_evaluation_sees_the_middle() -> None:
    assert (centred(IMAGES, CROP) == IMAGES[:, :, 3:21, 2:17]).all()
