"""What a spec is: Table 1 written out again, file round trips, and a precise message for every bad one."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from itertools import count, repeat
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from vgg import BackendError, Block, Conv, Head, Pool, Spec, VGGError, arch, arch_names, expand, totals
from vgg.core import limits
from vgg.core.errors import ContractError, UnavailableError, mismatch, unknown
from vgg.core.values import real

# Simonyan & Zisserman (2015), Table 1, columns A, A-LRN, B, C, D, E: "kernel-channels" of every convolution, by block.
TABLE_1 = {
    "vgg11": ["3-64", "3-128", "3-256 3-256", "3-512 3-512", "3-512 3-512"],
    "vgg11_lrn": ["3-64 LRN", "3-128", "3-256 3-256", "3-512 3-512", "3-512 3-512"],
    "vgg13": ["3-64 3-64", "3-128 3-128", "3-256 3-256", "3-512 3-512", "3-512 3-512"],
    "vgg16_1x1": ["3-64 3-64", "3-128 3-128", "3-256 3-256 1-256", "3-512 3-512 1-512", "3-512 3-512 1-512"],
    "vgg16": ["3-64 3-64", "3-128 3-128", "3-256 3-256 3-256", "3-512 3-512 3-512", "3-512 3-512 3-512"],
    "vgg19": [
        "3-64 3-64",
        "3-128 3-128",
        "3-256 3-256 3-256 3-256",
        "3-512 3-512 3-512 3-512",
        "3-512 3-512 3-512 3-512",
    ],
}
CHAPTER = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
ODD = {
    "global_pool": Spec.from_blocks(((1, 5), (2, 7)), input_shape=(3, 13, 18), head=Head((11,), 0.25, True)),
    "no_pool": Spec((Block((Conv(5), Conv(7, kernel=1, padding=0)), None),), (2, 9, 12), 4),
    "lrn_and_batch_norm": Spec((Block((Conv(5, lrn=True), Conv(7)), Pool(3, 1)),), (1, 11, 8), batch_norm=True),
    "stride_and_no_hidden": Spec(
        (Block((Conv(6, kernel=5, stride=3, padding=4),), Pool(3, 2)),), (2, 31, 44), 7, Head((), 0), name='a "b" é'
    ),
}
SPECS = {name: arch(name) for name in arch_names()} | ODD


def _notation(block: Block) -> str:
    return " ".join(f"{conv.kernel}-{conv.channels}" + " LRN" * conv.lrn for conv in block.convs)


def _data(**changes: Any) -> dict[str, Any]:
    return {"blocks": [[1, 5], [2, 7]], "input_shape": [3, 13, 18], "classes": 4} | changes


def _conv_data(**fields: Any) -> dict[str, Any]:
    return _data(blocks=[{"convs": [{"channels": 5}, {"channels": 7} | fields]}])


def test_arch_names_are_table_1_and_the_chapters_each_with_batch_norm() -> None:
    plain = (*TABLE_1, "alexnet", "vgg11_narrow")
    assert arch_names() == (*plain, *(f"{name}_bn" for name in plain))


@pytest.mark.parametrize("name", TABLE_1)
def test_a_column_has_the_convolutions_of_table_1(name: str) -> None:
    assert [_notation(block) for block in arch(name).blocks] == TABLE_1[name]


@pytest.mark.parametrize("name", TABLE_1)
def test_a_column_keeps_the_size_in_its_convolutions_and_halves_it_in_its_pools(name: str) -> None:
    for block in arch(name).blocks:
        assert {(conv.stride, 2 * conv.padding - conv.kernel) for conv in block.convs} == {(1, -1)}
        assert block.pool == Pool(2, 2)


@pytest.mark.parametrize("name", TABLE_1)
def test_a_column_has_the_input_and_the_head_of_the_paper(name: str) -> None:
    spec = arch(name)
    assert (spec.name, spec.input_shape, spec.classes, spec.head) == (
        name,
        (3, 224, 224),
        1000,
        Head((4096, 4096), 0.5),
    )


@pytest.mark.parametrize("name", [name for name in arch_names() if not name.endswith("_bn")])
def test_a_bn_name_is_the_plain_spec_with_batch_norm(name: str) -> None:
    assert arch(f"{name}_bn") == dataclasses.replace(arch(name), name=f"{name}_bn", batch_norm=True)
    assert not arch(name).batch_norm


def test_alexnet_is_the_books() -> None:
    spec = arch("alexnet")
    convs = [[(c.channels, c.kernel, c.stride, c.padding) for c in block.convs] for block in spec.blocks]
    assert convs == [[(96, 11, 4, 1)], [(256, 5, 1, 2)], [(384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1)]]
    assert {block.pool for block in spec.blocks} == {Pool(3, 2)}
    assert (spec.input_shape, spec.classes, spec.head) == ((1, 224, 224), 10, Head((4096, 4096), 0.5))


def test_vgg11_narrow_is_the_chapters() -> None:
    spec = arch("vgg11_narrow")
    assert [_notation(block) for block in spec.blocks] == ["3-16", "3-32", "3-64 3-64", "3-128 3-128", "3-128 3-128"]
    assert (spec.input_shape, spec.classes, spec.head) == ((1, 224, 224), 10, Head((4096, 4096), 0.5))


@pytest.mark.parametrize(("narrow", "name"), [(1, "vgg11"), (4, "vgg11_narrow")])
def test_the_chapters_notation_gives_the_same_blocks(narrow: int, name: str) -> None:
    assert Spec.from_blocks(CHAPTER, narrow=narrow).blocks == arch(name).blocks


def test_the_chapters_notation_takes_the_fields_of_a_spec() -> None:
    spec = Spec.from_blocks(((1, 6), (2, 10)), narrow=2, input_shape=(2, 9, 14), classes=3, batch_norm=True, name="n")
    blocks = (Block((Conv(3),)), Block((Conv(5), Conv(5))))
    assert spec == Spec(blocks, (2, 9, 14), 3, Head(), True, "n")


@pytest.mark.parametrize(
    ("changes", "field", "wanted"),
    [
        ({"input_shape": [1, 33, 50]}, "input_shape", (1, 33, 50)),
        ({"classes": 7}, "classes", 7),
        ({"batch_norm": True}, "batch_norm", True),
        ({"hidden": []}, "head", Head((), 0.5)),
        ({"hidden": [13, 5], "dropout": 0.0}, "head", Head((13, 5), 0.0)),
        ({"global_pool": True}, "head", Head((4096, 4096), 0.5, True)),
    ],
)
def test_modified_changes_what_it_is_told_and_nothing_else(changes: dict[str, Any], field: str, wanted: Any) -> None:
    assert arch("vgg13", **changes) == dataclasses.replace(arch("vgg13"), **{field: wanted})


def test_feature_shape_is_what_the_head_sees() -> None:
    assert arch("vgg16", input_shape=(3, 67, 101)).feature_shape == (512, 2, 3)


@pytest.mark.parametrize(
    "value", [Conv(5), Pool(), Block((Conv(5),)), Head(), arch("vgg11")], ids=lambda v: type(v).__name__
)
def test_every_part_of_a_spec_is_frozen(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, 3)


def test_every_spec_is_its_own_set_member() -> None:
    assert len({*SPECS.values(), *(Spec.from_dict(spec.to_dict()) for spec in SPECS.values())}) == len(SPECS)


def test_lists_given_to_a_spec_become_tuples() -> None:
    convs, hidden, shape, blocks = cast(Any, ([Conv(5)], [11, 6], [2, 9, 14], []))
    blocks.append(Block(convs))
    assert Spec(blocks, shape, head=Head(hidden)) == Spec((Block((Conv(5),)),), (2, 9, 14), head=Head((11, 6)))


@pytest.mark.parametrize("form", ["dict", "json", "toml"])
@pytest.mark.parametrize("name", SPECS)
def test_a_spec_survives_a_round_trip(name: str, form: str) -> None:
    text = getattr(SPECS[name], f"to_{form}")()
    assert getattr(Spec, f"from_{form}")(text) == SPECS[name]


def test_json_is_one_line() -> None:
    assert len(ODD["no_pool"].to_json().splitlines()) == 1


@pytest.mark.parametrize("form", ["json", "toml"])
def test_a_spec_loads_from_a_file(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"net.{form}"
    path.write_text(getattr(ODD["no_pool"], f"to_{form}")(), encoding="utf-8")
    assert Spec.load(path) == ODD["no_pool"]


def test_a_toml_written_by_hand_means_what_it_says() -> None:
    text = """
        input_shape = [2, 31, 44]
        classes = 7
        blocks = [
            [2, 6],
            {convs = [{channels = 5, kernel = 5, stride = 2, padding = 2, lrn = true}], pool = {kernel = 3}},
            {convs = [{channels = 9}], pool = false},
            {convs = [{channels = 8}], pool = true},
        ]
        [head]
        hidden = [11]
        dropout = 0.25
    """
    blocks = (
        Block((Conv(6), Conv(6))),
        Block((Conv(5, kernel=5, stride=2, padding=2, lrn=True),), Pool(3, 2)),
        Block((Conv(9),), None),
        Block((Conv(8),)),
    )
    assert Spec.from_toml(text) == Spec(blocks, (2, 31, 44), 7, Head((11,), 0.25))


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (Conv, {"channels": 0}, "conv.channels: got 0, wanted an integer >= 1"),
        (Conv, {"channels": -3}, "conv.channels: got -3, wanted an integer >= 1"),
        (Conv, {"channels": 8.0}, "conv.channels: got 8.0, wanted an integer >= 1"),
        (Conv, {"channels": True}, "conv.channels: got True, wanted an integer >= 1"),
        (Conv, {"channels": 5, "kernel": 0}, "conv.kernel: got 0, wanted an integer >= 1"),
        (Conv, {"channels": 5, "stride": 0}, "conv.stride: got 0, wanted an integer >= 1"),
        (Conv, {"channels": 5, "padding": -1}, "conv.padding: got -1, wanted an integer >= 0"),
        (Conv, {"channels": 5, "padding": 3}, "conv.padding: got 3, wanted less than the kernel, 3"),
        (Conv, {"channels": 5, "lrn": 1}, "conv.lrn: got 1, wanted true or false"),
        (Pool, {"kernel": 0}, "pool.kernel: got 0, wanted an integer >= 1"),
        (Pool, {"stride": "2"}, "pool.stride: got '2', wanted an integer >= 1"),
        (Block, {"convs": ()}, "block.convs: got none, wanted at least one convolution"),
        (Head, {"hidden": (7, 0)}, "head.hidden: got 0, wanted an integer >= 1"),
        (Head, {"dropout": 1.0}, "head.dropout: got 1.0, wanted a number in [0, 1)"),
        (Head, {"dropout": -0.1}, "head.dropout: got -0.1, wanted a number in [0, 1)"),
        (Head, {"dropout": float("nan")}, "head.dropout: got nan, wanted a number in [0, 1)"),
        (Head, {"dropout": True}, "head.dropout: got True, wanted a number in [0, 1)"),
        (Head, {"global_pool": 1}, "head.global_pool: got 1, wanted true or false"),
        (Spec, {"blocks": ()}, "spec.blocks: got none, wanted at least one block"),
    ],
)
def test_a_bad_part_is_refused_by_name(cls: type, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(VGGError) as caught:
        cls(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "spec: got [1], wanted a table of named values"),
        ({"classes": 4}, "spec: got no 'blocks', wanted a list of blocks"),
        (_data(blocks=3), "blocks: got 3, wanted a list"),
        (_data(blocks=[]), "spec.blocks: got none, wanted at least one block"),
        (_data(blocks=[[1, 5], "x"]), "blocks[1]: got 'x', wanted a table of named values"),
        (_data(blocks=[[1, 5, 7]]), "got [1, 5, 7], wanted a pair (convolutions, channels)"),
        (_data(blocks=[[0, 5]]), "convolutions of a block: got 0, wanted an integer >= 1"),
        (_data(blocks=[[1, "5"]]), "conv.channels: got '5', wanted an integer >= 1"),
        (_data(blocks=[[1, 5], {"convs": 3}]), "blocks[1].convs: got 3, wanted a list"),
        (_data(blocks=[{}]), "block.convs: got none, wanted at least one convolution"),
        (_data(blocks=[{"convs": [[3, 5]]}]), "blocks[0].convs[0]: got [3, 5], wanted a table of named values"),
        (_data(blocks=[{"convs": [{"kernel": 3}]}]), "blocks[0].convs[0]: got no 'channels', wanted the number"),
        (_data(blocks=[{"convs": [{"channels": 5}], "pool": 2}]), "blocks[0].pool: got 2, wanted a table {kernel"),
        (_conv_data(kernel="3"), "conv.kernel: got '3', wanted an integer >= 1"),
        (_data(input_shape=3), "input_shape: got 3, wanted a list"),
        (_data(input_shape=[13, 18]), "spec.input_shape: got [13, 18], wanted [channels, height, width]"),
        (_data(input_shape=[3, 13.0, 18]), "spec.input_shape: got 13.0, wanted an integer >= 1"),
        (_data(classes=0), "spec.classes: got 0, wanted an integer >= 1"),
        (_data(batch_norm=1), "spec.batch_norm: got 1, wanted true or false"),
        (_data(name=3), "spec.name: got 3, wanted a string"),
        (_data(head="big"), "head: got 'big', wanted a table of named values"),
        (_data(head={"hidden": 3}), "head.hidden: got 3, wanted a list"),
        (_data(head={"dropout": "0.5"}), "head.dropout: got '0.5', wanted a number in [0, 1)"),
        (_data(clases=4), "unknown key in spec 'clases': did you mean classes?"),
        (_data(head={"droput": 0.5}), "unknown key in head 'droput': did you mean dropout?"),
        (_data(blocks=[{"conv": []}]), "unknown key in blocks[0] 'conv': did you mean convs?"),
        (_conv_data(chanels=5), "unknown key in blocks[0].convs[1] 'chanels': did you mean channels?"),
        (
            _data(blocks=[[1, 5], {"convs": [{"channels": 5}], "pool": {"kernal": 3}}]),
            "unknown key in blocks[1].pool 'kernal': did you mean kernel?",
        ),
    ],
)
def test_a_bad_file_is_refused_with_the_place(data: object, message: str) -> None:
    with pytest.raises(VGGError) as caught:
        Spec.from_json(json.dumps(data))
    assert message in str(caught.value)


def test_a_flat_pair_is_not_a_list_of_blocks() -> None:
    pairs: Any = (1, 64)
    with pytest.raises(VGGError, match=r"got 1, wanted a pair \(convolutions, channels\)"):
        Spec.from_blocks(pairs)


def test_an_input_that_the_pools_shrink_to_nothing_is_refused() -> None:
    with pytest.raises(VGGError, match=r"got 3x40x31, 2x1 where block5 has a 2x2 window, wanted at least 1x1 .*; take"):
        arch("vgg11", input_shape=(3, 40, 31))


def test_an_input_smaller_than_a_convolution_is_refused() -> None:
    with pytest.raises(VGGError, match="got 1x30x8, 30x8 where block1 has a 11x11 window"):
        arch("alexnet", input_shape=(1, 30, 8))


@pytest.mark.parametrize(
    ("narrow", "message"),
    [
        (3, "narrow: got 3, wanted a divisor of every channel count, 64 among them"),
        (128, "narrow: got 128, wanted a divisor of every channel count, 64 among them"),
        (0, "narrow: got 0, wanted an integer >= 1"),
        (0.5, "narrow: got 0.5, wanted an integer >= 1"),
    ],
)
def test_a_ratio_that_does_not_divide_is_refused(narrow: Any, message: str) -> None:
    with pytest.raises(VGGError, match=message):
        arch("vgg11", narrow=narrow)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("VGG-16", "did you mean vgg16?"),
        ("vgg19bn", "did you mean vgg19_bn?"),
        ("zzz", "choose from alexnet, alexnet_bn, "),
    ],
)
def test_an_unknown_arch_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(VGGError) as caught:
        arch(name)
    assert f"unknown architecture {name!r}: {hint}" in str(caught.value)


@pytest.mark.parametrize(("suffix", "form"), [("json", "JSON"), ("toml", "TOML")])
def test_a_file_in_the_wrong_language_is_refused_by_path(suffix: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"net.{suffix}"
    path.write_text("blocks == 3", encoding="utf-8")
    with pytest.raises(VGGError) as caught:
        Spec.load(path)
    assert str(caught.value).startswith(f"{path}: not {form}: ")


def test_a_bad_spec_in_a_file_is_refused_by_path(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text('{"blocks": 3}', encoding="utf-8")
    with pytest.raises(VGGError) as caught:
        Spec.load(path)
    assert str(caught.value) == f"{path}: blocks: got 3, wanted a list"


def test_a_file_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text("[" * 100_000)
    with pytest.raises(VGGError, match=r"net.json: not JSON"):
        Spec.load(path)


def test_a_number_is_no_architecture() -> None:
    with pytest.raises(VGGError, match="unknown architecture '11': did you mean vgg11"):
        arch(11)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [None, b"\xff\xfe{"], ids=["missing", "not_utf8"])
def test_a_file_that_cannot_be_read_is_refused_by_path(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VGGError) as caught:
        Spec.load(path)
    assert str(caught.value).startswith(f"{path}: cannot be read as a spec (")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": [[1_000_000_000, 64]]}, "convolutions of a block: got 1000000000, wanted at most 2,000"),
        ({"blocks": [[1, 64]] * 100_000}, "blocks: got more than 1,000, wanted at most 1,000"),
        ({"blocks": [[1500, 1], [1500, 1]]}, "spec.blocks: got 3,000 convolutions, wanted at most 2,000"),
        ({"blocks": [[1, 10**5000]]}, "conv.channels: got an integer of 16,610 bits, wanted at most 10,000,000"),
        ({"classes": 10**12}, "spec.classes: got 1000000000000, wanted at most 10,000,000"),
        ({"classes": 10**5000}, "spec.classes: got an integer of 16,610 bits, wanted at most 10,000,000"),
        ({"input_shape": [1, 10**9, 8]}, "spec.input_shape: got 1000000000, wanted at most 100,000"),
        ({"input_shape": [1] * 10**6}, "input_shape: got more than 1,000"),
        ({"head": {"hidden": [6] * 100_000}}, "head.hidden: got more than 1,000, wanted at most 1,000"),
        ({"head": {"hidden": [10**9]}}, "head.hidden: got 1000000000, wanted at most 10,000,000"),
        ({"head": {"dropout": 10**400}}, "head.dropout: got an integer of 1,329 bits, wanted a number in [0, 1)"),
        ({"name": "x" * 10**6}, "spec.name: got 1,000,000 characters, wanted at most 200"),
        ({"blocks": [{"convs": [{"channels": 4, "kernel": 10**9}]}]}, "conv.kernel: got 1000000000, wanted at most"),
        ({"blocks": [{"convs": [{"channels": 4}], "pool": {"stride": 10**9}}]}, "pool.stride: got 1000000000"),
        ({"x" * 10**6: 1}, "unknown key in spec 'xxx"),
    ],
)
def test_a_size_far_above_any_real_network_is_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(VGGError) as caught:
        Spec.from_dict(_data(**fields))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_limits_are_far_above_every_network_of_the_paper() -> None:
    for spec in SPECS.values():
        convs = [conv for block in spec.blocks for conv in block.convs]
        assert 100 * len(convs) < limits.CONVS
        assert 100 * len(spec.blocks) < limits.BLOCKS
        assert 100 * max(*(conv.channels for conv in convs), *spec.head.hidden, spec.classes) < limits.WIDTH
        assert 100 * max(spec.input_shape[1:]) < limits.EXTENT


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64, np.array])
def test_numpys_integers_are_integers(kind: Any) -> None:
    five: Any = np.array([5])
    two, plain = kind(2), Spec.from_blocks(((2, 6),), input_shape=(2, 9, 14), classes=2, head=Head((2,)))
    blocks = (Block((Conv(kind(6), kind(3), kind(1), kind(1)),) * 2, Pool(two, two)),)
    assert Spec(blocks, (two, kind(9), kind(14)), two, Head((two,))) == plain
    assert Spec.from_blocks(np.array([[2, 6]]), input_shape=np.array([2, 9, 14]), classes=two, head=Head((2,))) == plain
    assert Spec.from_dict({**plain.to_dict(), "input_shape": np.array([2, 9, 14]), "classes": two}) == plain
    assert plain.modified(narrow=two, hidden=five, classes=two) == plain.modified(narrow=2, hidden=(5,))
    assert arch("vgg11", narrow=two, classes=two) == arch("vgg11", narrow=2, classes=2)
    assert json.loads(Spec(blocks, (two, kind(9), kind(14)), two, Head((two,))).to_json()) == plain.to_dict()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, Fraction])
def test_numpys_floats_and_truth_values_are_numbers_and_truth_values(kind: Any) -> None:
    yes: Any = np.bool_(True)
    head = Head(dropout=kind(0.25), global_pool=yes)
    assert (head, type(head.dropout), type(head.global_pool)) == (Head(dropout=0.25, global_pool=True), float, bool)
    assert arch("vgg11", dropout=kind(0.5), batch_norm=yes) == arch("vgg11", batch_norm=True)
    assert json.loads(arch("vgg11", batch_norm=yes).to_json())["batch_norm"] is True
    assert Conv(5, lrn=yes).lrn is True


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: Spec(224), "spec.blocks: got 224, wanted a list of Block"),  # type: ignore[arg-type]
        (lambda: Spec(((1, 64),)), "wanted a list of Block; Spec.from_blocks takes pairs"),  # type: ignore[arg-type]
        (lambda: Spec.from_blocks(5), "blocks: got 5, wanted a list of pairs"),  # type: ignore[arg-type]
        (lambda: arch("vgg11", input_shape=224), "spec.input_shape: got 224, wanted [channels, height, width]"),
        (lambda: arch("vgg11", input_shape="3x224x224"), "got '3x224x224', wanted [channels, height, width]"),
        (lambda: arch("vgg11", hidden=5), "head.hidden: got 5, wanted a list of integers"),
        (lambda: arch("vgg11", inputshape=(3, 8, 8)), "'inputshape': did you mean input_shape?"),
        (lambda: arch(["vgg11"]), "unknown architecture \"['vgg11']\""),  # type: ignore[arg-type]
        (lambda: Spec.from_blocks([[1, 64]], clases=3), "unknown key in spec 'clases': did you mean classes?"),
        (lambda: Block((3,)), "block.convs: got 3, wanted a list of Conv"),  # type: ignore[arg-type]
        (lambda: Block((Conv(3),), (2, 2)), "block.pool: got (2, 2), wanted a Pool or None"),  # type: ignore[arg-type]
        (lambda: Spec((Block((Conv(3),)),), head=5), "spec.head: got 5, wanted a Head"),  # type: ignore[arg-type]
        (lambda: expand("vgg11"), "spec: got 'vgg11', wanted a Spec, as vgg.arch returns it"),  # type: ignore[arg-type]
        (lambda: totals(arch("vgg11")), "wanted the layer table that vgg.expand returns"),  # type: ignore[arg-type]
        (lambda: arch("vgg11", classes=count()), "spec.classes: got count(0), wanted an integer >= 1"),
        (lambda: Spec(repeat(Block((Conv(3),)))), "spec.blocks: got more than 1,000"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(value: Any, message: str) -> None:
    with pytest.raises(VGGError) as caught:
        value()
    assert message in str(caught.value)


@pytest.mark.parametrize(("shape", "right"), [((224, 224, 3), "3x224x224"), ((96, 80, 1), "1x96x80")])
def test_an_input_with_the_channels_last_is_called_that(shape: tuple[int, ...], right: str) -> None:
    with pytest.raises(VGGError, match=f"channels come first, as in {right}$"):
        arch("vgg11", input_shape=shape)


@pytest.mark.parametrize(("do", "tail"), [("", ""), ("ask", "; ask")])
def test_a_mismatch_says_got_wanted_and_do(do: str, tail: str) -> None:
    assert str(mismatch("a.b", (1, 2), (2, 1), do)) == "a.b: got (1, 2), wanted (2, 1)" + tail


@pytest.mark.parametrize(
    ("name", "hint"),
    [("PyTorch", "did you mean torch?"), ("torhc", "did you mean torch?"), ("?", "choose from jax, torch")],
)
def test_an_unknown_name_is_answered_by_alias_then_likeness_then_list(name: str, hint: str) -> None:
    assert str(unknown("backend", name, ["torch", "jax"], {"pytorch": "torch"})) == f"unknown backend {name!r}: {hint}"


@pytest.mark.parametrize(("error", "root"), [(BackendError, VGGError), (UnavailableError, BackendError)])
def test_every_error_is_caught_by_its_root(error: type, root: type) -> None:
    assert issubclass(error, root)


@pytest.mark.parametrize("loss", [1, 0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2)])
def test_a_number_of_any_framework_is_real(loss: Any) -> None:
    assert real("loss", loss) == float(loss)


@pytest.mark.parametrize("loss", ["0.5", b"0.5", True, np.True_, np.array([True]), None, [0.5], 1j, np.ones(2)])
def test_what_is_no_number_is_not_real(loss: Any) -> None:
    with pytest.raises(ContractError, match=r"loss: got .*, wanted a real number"):
        real("loss", loss)
