"""Neutral dropout masks: at their rate, independent, and the same everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from vgg import Head, Spec
from vgg.core.masks import masks

SPEC = Spec.from_blocks(((1, 4),), input_shape=(1, 6, 8), classes=3, head=Head((300, 200), dropout=0.25))


def test_every_dropout_layer_has_one_of_its_shape() -> None:
    assert {name: mask.shape for name, mask in masks(SPEC, 5, 0, 0).items()} == {
        "fc1.dropout": (5, 300),
        "fc2.dropout": (5, 200),
    }


def test_a_mask_is_zero_or_the_inverse_of_the_share_kept() -> None:
    mask = masks(SPEC, 50, 0, 0)["fc1.dropout"]
    assert set(np.unique(mask)) == {0.0, 1 / 0.75}
    assert np.mean(mask > 0) == pytest.approx(0.75, abs=5 * np.sqrt(0.25 * 0.75 / mask.size))


@pytest.mark.parametrize("other", [(1, 0), (0, 1)], ids=["seed", "step"])
def test_another_seed_or_step_draws_another(other: tuple[int, int]) -> None:
    assert not np.array_equal(masks(SPEC, 5, 0, 0)["fc1.dropout"], masks(SPEC, 5, *other)["fc1.dropout"])


def test_layers_draw_apart() -> None:
    drawn = masks(SPEC, 5, 0, 0)
    assert not np.array_equal(drawn["fc1.dropout"][:, :200], drawn["fc2.dropout"])


def test_a_mask_is_the_same_on_every_machine() -> None:
    kept = np.packbits(masks(SPEC, 5, 7, 3)["fc1.dropout"] > 0)
    assert hashlib.sha256(kept.tobytes()).hexdigest()[:16] == "9720145b56b2492d"


def test_a_net_without_dropout_has_none() -> None:
    assert masks(SPEC.modified(dropout=0), 5, 0, 0) == {}
