"""Masks are read off gradients exactly, and what is wrong with a step is seen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vgg.conformance.independence import Kept
from vgg.conformance.unmasking import Draw, stepped, unmasked
from vgg.core import oracle
from vgg.core.oracle import Mode
from vgg.process.wire import Arrays

RATES = (0.5, 0.25, 0.3, 0.1, 0.9)
MODE = Mode(train=True)


def stepping(draw: Draw, factor: float = 1.0) -> tuple[Kept, tuple[float, Arrays]]:
    """Masks, and a step's loss and gradients with them times ``factor``."""
    shape = (len(draw.hidden), draw.batch, draw.hidden[0])
    kept: Kept = np.random.default_rng(0).random(shape) >= draw.rate
    masks = dict(zip(draw.rows, kept / (1 - draw.rate) * factor, strict=True))
    loss, grads, _ = oracle.loss_and_grads(draw.spec, draw.exact, draw.seen, draw.labels, MODE._replace(masks=masks))
    return kept, (loss, grads)


@pytest.mark.parametrize(("rate", "batch"), [*product(RATES, (1, 2, 9, 33))])
def test_masks_are_read_off_gradients(rate: float, batch: int) -> None:
    draw = Draw(rate, "float64", 1, batch, (150,) * 3)
    kept, got = stepping(draw)
    assert np.array_equal(unmasked(draw, got[1]), kept)
    assert stepped(draw, kept, 1 / (1 - rate), MODE, got).ok


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_masks_are_read_off_gradients_that_are_rounded(precision: str) -> None:
    draw = Draw(0.3, precision, 1, 12, (150,) * 3, sides=(3, 4), batch_norm=True)
    kept, (_, grads) = stepping(draw)
    noise = np.random.default_rng(1)
    rounded = {name: g * (1 + 2.0**-8 * noise.standard_normal(g.shape)) for name, g in grads.items()}
    assert np.array_equal(unmasked(draw, rounded), kept)


@pytest.mark.parametrize(
    ("precision", "factor"), [("float64", 1 + 1e-11), ("float32", 1 + 2e-6), ("fp16", 1.01), ("bf16", 1.05)]
)
def test_another_scale_is_refused(precision: str, factor: float) -> None:
    draw = Draw(0.25, precision, 1, 12, (150,) * 3)
    kept, got = stepping(draw, factor)
    verdict = stepped(draw, kept, 4 / 3, MODE, got)
    assert not verdict.ok
    assert verdict.reason.startswith("fc3.dropout: a step multiplies by 1.")


def test_gradients_that_are_not_those_of_the_masks_are_refused() -> None:
    draw = Draw(0.5, "float32", 1, 12, (150,) * 3)
    kept, (loss, grads) = stepping(draw)
    grads["fc1.bias"] = grads["fc1.bias"][::-1]
    assert stepped(draw, kept, 2.0, MODE, (loss, grads)).reason.startswith("fc1.bias")


def test_every_hidden_unit_is_on_whatever_is_dropped() -> None:
    draw = Draw(0.9, "float64", 1, 12, (384,) * 3)
    kept, _ = stepping(draw)
    masks = dict(zip(draw.rows, kept * 10.0, strict=True))
    activations = oracle.forward(draw.spec, draw.exact, draw.seen, MODE._replace(masks=masks)).activations
    assert all(activations[f"fc{number}.relu"].min() > 0.3 for number in (1, 2, 3))
