"""``vgg show --blocks``: one row per block, and where the layers with weights are."""

from __future__ import annotations

import json
import re

import pytest

import vgg
from vgg import Block, Conv, Head, Spec, arch, arch_names, expand, totals
from vgg.cli import main
from vgg.core.block_table import block_table, counted, layers_text, widths_text

PAPER = {"vgg11": (8, 3), "vgg13": (10, 3), "vgg16": (13, 3), "vgg19": (16, 3), "alexnet": (5, 3)}
"""Convolutions and dense layers; their sum is the number in a VGG's name."""


@pytest.mark.parametrize("name", arch_names())
def test_rows_sum_to_the_layer_table(name: str) -> None:
    rows, total = block_table(arch(name)), totals(expand(arch(name)))
    assert (sum(row.params for row in rows), sum(row.macs for row in rows)) == (total.params, total.macs)


@pytest.mark.parametrize("name", arch_names())
def test_rows_go_from_the_input_to_the_logits_without_a_gap(name: str) -> None:
    spec = arch(name)
    rows = block_table(spec)
    assert [row.name for row in rows] == [*(f"block{i + 1}" for i in range(len(spec.blocks))), "head"]
    assert [row.input_shape for row in rows] == [spec.input_shape, *(row.output_shape for row in rows[:-1])]
    assert rows[-1].input_shape == spec.feature_shape
    assert rows[-1].output_shape == (spec.classes,)


@pytest.mark.parametrize("name", PAPER)
def test_the_number_in_the_name_counts_convolutions_and_dense_layers(name: str) -> None:
    rows = block_table(arch(name))
    assert (sum(row.convs for row in rows), sum(row.dense for row in rows)) == PAPER[name]
    assert not name.startswith("vgg") or name == f"vgg{sum(PAPER[name])}"


def test_words_of_a_row() -> None:
    rows = block_table(arch("vgg16_1x1"))
    assert (layers_text(rows[2]), widths_text(rows[2])) == ("2 conv 3x3, 1 conv 1x1", "128 -> 256 -> 256 -> 256")
    assert (layers_text(rows[-1]), widths_text(rows[-1])) == ("3 dense", "25088 -> 4096 -> 4096 -> 1000")


def test_a_global_pool_shortens_the_first_dense_layer() -> None:
    spec = Spec((Block((Conv(4),)),), (2, 6, 8), 5, Head((), 0.0, global_pool=True))
    assert widths_text(block_table(spec)[-1]) == "4 -> 5"
    assert counted(block_table(spec)) == ("2 layers with weights: 1 convolution in 1 block, 1 dense layer in the head")


def test_show_blocks_prints_rows_and_where_the_layers_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg11", "--blocks"]) == 0
    out = capsys.readouterr().out
    names = re.findall(r"^ +(block\d|head)", out, re.MULTILINE)
    assert names == ["block1", "block2", "block3", "block4", "block5", "head"]
    assert "11 layers with weights: 8 convolutions in 5 blocks, 3 dense layers in the head" in out
    assert "132,863,336" in out


def test_show_blocks_json_adds_rows_to_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg11_narrow", "--blocks", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["blocks"][0] == {
        "name": "block1",
        "input_shape": [1, 224, 224],
        "output_shape": [16, 112, 112],
        "convs": 1,
        "dense": 0,
        "widths": [1, 16],
        "kernels": [3],
        "params": 160,
        "macs": 7_225_344,
    }
    assert len(shown["layers"]) == len(expand(arch("vgg11_narrow")))


def test_show_without_blocks_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg11", "--json"]) == 0
    assert "blocks" not in json.loads(capsys.readouterr().out)


def test_python_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "vgg13", "--blocks", "--narrow", "4"])
    printed = capsys.readouterr().out
    vgg.show("vgg13", narrow=4, blocks=True)
    assert capsys.readouterr().out == printed
