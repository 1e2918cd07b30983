"""Batches that no network with batch norm can be trained on are refused before anything begins."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vgg import Block, Conv, Head, Pool, Recipe, Spec, VGGError
from vgg.cli import main
from vgg.core import oracle
from vgg.core.init import init
from vgg.training.batches import Steps, check_trainable, untrainable
from vgg.training.loop import run

PLUGIN = Path(__file__).with_name("plugin_backend")


def spec(*blocks: Block, side: int, batch_norm: bool = True, width: int | None = None) -> Spec:
    return Spec(blocks, (1, side, width or side), 10, Head((5,)), batch_norm)


POINT = spec(Block((Conv(4),)), Block((Conv(4),), None), side=2)
"""Its second convolution sees maps of 1x1."""


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (POINT, "block2.bn1"),
        (spec(Block((Conv(4),), None), side=1), "block1.bn1"),
        (spec(Block((Conv(4, kernel=5, padding=0),), None), side=5), "block1.bn1"),
        (spec(Block((Conv(4, stride=7),), None), side=7), "block1.bn1"),
        (spec(Block((Conv(4),), Pool(7, 1)), Block((Conv(6, kernel=1, padding=0),), None), side=7), "block2.bn1"),
        (spec(Block((Conv(4),)), side=2), None),
        (spec(Block((Conv(4),), None), side=1, width=2), None),
        (spec(Block((Conv(4),), None), side=1, batch_norm=False), None),
    ],
)
@pytest.mark.parametrize(
    ("examples", "batch", "single"),
    [
        (1440, 1439, True),
        (1440, 1, True),
        (1, 32, True),
        (3, 2, True),
        (1440, 32, False),
        (1440, 1440, False),
        (2, 9, False),
    ],
)
def test_a_batch_of_one_image_at_a_map_of_one_point_is_refused(
    network: Spec, name: str | None, examples: int, batch: int, single: bool
) -> None:
    error = untrainable(network, Steps(examples, batch))
    assert (error is not None) is (name is not None and single)
    if error:
        assert str(error).startswith(f"--batch-size: got {batch}, which leaves a batch of 1 of the {examples} images, ")
        assert f"because {name} normalises maps of 1x1; take another batch size" in str(error)
        with pytest.raises(VGGError, match="--batch-size"):
            check_trainable(network, Steps(examples, batch))


def test_such_a_batch_tells_batch_norm_nothing() -> None:
    """Its output is its bias, whatever the images are."""
    params, images = init(POINT, 0), (np.arange(4.0), 9 - np.arange(4.0) ** 2)
    still = POINT.modified(dropout=0)
    one, two = (oracle.forward(still, params, x.reshape(1, 1, 2, 2), oracle.Mode(train=True)).logits for x in images)
    assert (one == two).all()


@pytest.mark.parametrize("command", [["train", "torch"], ["train", "mxnet"], ["compare", "torch", "jax", "--arch"]])
@pytest.mark.parametrize(
    "options",
    [["--batch-size", "1439"], ["--batch-size", "1"], ["--batch-size", "719", "--set", "validation=0.00069"]],
    ids=["last", "each", "validation"],
)
def test_every_command_and_backend_refuses_it_beforehand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], options: list[str]
) -> None:
    (tmp_path / "point.json").write_text(json.dumps(POINT.to_dict()))
    out = tmp_path / "run"
    assert main([*command, str(tmp_path / "point.json"), *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "which leaves a batch of 1 of the 14" in error
    assert "wanted 2 images or more in every batch, because block2.bn1 normalises maps of 1x1" in error
    assert not out.exists()


def test_the_loop_refuses_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    backend: Any = importlib.import_module("vgg_oracle")
    from vgg.training import data

    digits = data.load("digits")
    arrays = {
        part: getattr(digits, part)[:5] for part in ("train_images", "train_labels", "test_images", "test_labels")
    }
    plan = Recipe(dataset="digits", batch_size=4).to_dict()
    with pytest.raises(VGGError, match="--batch-size: got 4, which leaves a batch of 1 of the 5 images"):
        run(backend, tmp_path, arrays, spec=POINT.to_dict(), recipe=plan, device="cpu", facts={}, emit=print)
    assert list(tmp_path.iterdir()) == []
