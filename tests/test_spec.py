"""What a spec is: Table 1 written out again, file round trips, and a precise message for every bad one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest

from vgg import BackendError, Block, Conv, Head, Pool, Spec, VGGError, arch, arch_names
from vgg.core.errors import UnavailableError, mismatch, unknown

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
