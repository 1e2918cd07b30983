"""The layer table against published counts and against a table worked out by hand."""

from __future__ import annotations

import math

import pytest

from vgg import Block, Conv, Head, Pool, Spec, Totals, arch, expand, totals

# (architecture, parameters, with batch norm, MACs, parameters in millions in the paper's Table 2)
COUNTS = [
    ("vgg11", 132_863_336, 132_868_840, 7_609_090_048, 133),
    ("vgg11_lrn", 132_863_336, 132_868_840, 7_609_090_048, 133),
    ("vgg13", 133_047_848, 133_053_736, 11_308_466_176, 133),
    ("vgg16_1x1", 133_638_952, 133_647_400, 11_770_888_192, 134),
    ("vgg16", 138_357_544, 138_365_992, 15_470_264_320, 138),
    ("vgg19", 143_667_240, 143_678_248, 19_632_062_464, 144),
]
COLUMNS = [row[0] for row in COUNTS]

HAND = Spec(
    blocks=(
        Block((Conv(5, kernel=3, stride=2, padding=1, lrn=True), Conv(7, kernel=1, padding=0)), Pool(3, 2)),
        Block((Conv(11, kernel=2, padding=0),), None),
    ),
    input_shape=(3, 23, 34),
    classes=6,
    head=Head((13,), 0.25),
    batch_norm=True,
)
# name, kind, output shape, parameters, MACs
HAND_TABLE = [
    ("block1.conv1", "conv", (5, 12, 17), 140, 27_540),
    ("block1.bn1", "batch_norm", (5, 12, 17), 10, 0),
    ("block1.relu1", "relu", (5, 12, 17), 0, 0),
    ("block1.lrn1", "lrn", (5, 12, 17), 0, 0),
    ("block1.conv2", "conv", (7, 12, 17), 42, 7_140),
    ("block1.bn2", "batch_norm", (7, 12, 17), 14, 0),
    ("block1.relu2", "relu", (7, 12, 17), 0, 0),
    ("block1.pool", "max_pool", (7, 5, 8), 0, 0),
    ("block2.conv1", "conv", (11, 4, 7), 319, 8_624),
    ("block2.bn1", "batch_norm", (11, 4, 7), 22, 0),
    ("block2.relu1", "relu", (11, 4, 7), 0, 0),
    ("flatten", "flatten", (308,), 0, 0),
    ("fc1", "dense", (13,), 4_017, 4_004),
    ("fc1.relu", "relu", (13,), 0, 0),
    ("fc1.dropout", "dropout", (13,), 0, 0),
    ("fc2", "dense", (6,), 84, 78),
]


@pytest.mark.parametrize(("name", "params"), [row[:2] for row in COUNTS])
def test_parameters_are_the_published_ones(name: str, params: int) -> None:
    assert totals(expand(arch(name))).params == params


@pytest.mark.parametrize(("name", "params"), [(row[0], row[2]) for row in COUNTS])
def test_batch_norm_adds_two_parameters_a_channel(name: str, params: int) -> None:
    assert totals(expand(arch(f"{name}_bn"))).params == params


@pytest.mark.parametrize(("name", "macs"), [(row[0], row[3]) for row in COUNTS])
@pytest.mark.parametrize("suffix", ["", "_bn"])
def test_macs_are_the_published_ones(name: str, suffix: str, macs: int) -> None:
    assert totals(expand(arch(name + suffix))).macs == macs


@pytest.mark.parametrize(("name", "millions"), [(row[0], row[4]) for row in COUNTS])
def test_parameters_round_to_table_2_of_the_paper(name: str, millions: int) -> None:
    assert round(totals(expand(arch(name))).params / 1e6) == millions


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("vgg11", 128_806_154, 7_547_232_256),
        ("vgg11_narrow", 43_093_322, 512_155_648),
        ("alexnet", 46_764_746, 938_146_176),
    ],
)
def test_counts_for_fashion_mnist_are_the_chapters(name: str, params: int, macs: int) -> None:
    got = totals(expand(arch(name, input_shape=(1, 224, 224), classes=10)))
    assert (got.params, got.macs) == (params, macs)


@pytest.mark.parametrize("name", [*COLUMNS, "vgg11_narrow"])
def test_five_pools_take_224_to_7(name: str) -> None:
    sides = [row.output_shape[1:] for row in expand(arch(name)) if row.kind == "max_pool"]
    assert sides == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]


def test_the_table_of_a_small_net_is_the_one_worked_out_by_hand() -> None:
    assert [(row.name, row.kind, row.output_shape, row.params, row.macs) for row in expand(HAND)] == HAND_TABLE


def test_the_totals_of_a_small_net_are_the_ones_worked_out_by_hand() -> None:
    assert totals(expand(HAND)) == Totals(params=4648, macs=47_386, activations=9921, conv_params=501, conv_macs=43_304)


def test_parameters_have_canonical_names_and_shapes() -> None:
    rows = {row.name: row.parameters for row in expand(HAND)}
    assert rows["block2.conv1"] == {"block2.conv1.weight": (11, 7, 2, 2), "block2.conv1.bias": (11,)}
    assert rows["fc1"] == {"fc1.weight": (13, 308), "fc1.bias": (13,)}
    parts = ("weight", "bias", "running_mean", "running_var")
    assert rows["block1.bn2"] == {f"block1.bn2.{part}": (7,) for part in parts}
    assert rows["block1.pool"] == {}


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("block1.conv1", {"kernel": 3, "stride": 2, "padding": 1}),
        ("block1.pool", {"kernel": 3, "stride": 2}),
        ("fc1.dropout", {"rate": 0.25}),
        ("fc2", {}),
    ],
)
def test_a_row_carries_what_its_kind_needs(name: str, attributes: dict[str, float]) -> None:
    assert {row.name: row.attributes for row in expand(HAND)}[name] == attributes


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("vgg11", ["conv", "relu", "max_pool"]),
        ("vgg11_lrn", ["conv", "relu", "lrn", "max_pool"]),
        ("vgg11_bn", ["conv", "batch_norm", "relu", "max_pool"]),
        ("vgg11_lrn_bn", ["conv", "batch_norm", "relu", "lrn", "max_pool"]),
    ],
)
def test_a_block_has_the_layers_of_its_column_in_order(name: str, kinds: list[str]) -> None:
    assert [row.kind for row in expand(arch(name)) if row.name.startswith("block1.")] == kinds


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (Head((), 0.5), ["flatten", "fc1"]),
        (Head((13,), 0.0), ["flatten", "fc1", "fc1.relu", "fc2"]),
        (Head((), 0.5, global_pool=True), ["global_avg_pool", "fc1"]),
    ],
)
def test_the_head_has_only_the_layers_it_asks_for(head: Head, names: list[str]) -> None:
    table = expand(Spec.from_blocks(((1, 5),), input_shape=(3, 7, 10), head=head))
    assert [row.name for row in table[3:]] == names


def test_a_global_pool_leaves_one_number_a_channel() -> None:
    table = expand(
        Spec.from_blocks(((1, 5),), input_shape=(3, 7, 10), classes=4, head=Head((6,), 0.5, global_pool=True))
    )
    assert [row.output_shape for row in table[3:]] == [(5,), (6,), (6,), (6,), (4,)]
    assert table[4].parameters["fc1.weight"] == (6, 5)


def _positions(extent: int, kernel: int, stride: int, padding: int) -> int:
    return sum(1 for start in range(-padding, extent + padding, stride) if start + kernel <= extent + padding)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_a_convolution_has_one_output_for_each_window_that_fits(kernel: int, stride: int, padding: int) -> None:
    block = Block((Conv(5, kernel=kernel, stride=stride, padding=padding),), None)
    first = expand(Spec((block,), (3, 17, 24), 4))[0]
    assert first.output_shape == (5, _positions(17, kernel, stride, padding), _positions(24, kernel, stride, padding))


@pytest.mark.parametrize("pool", [Pool(2, 2), Pool(3, 2), Pool(2, 3), Pool(4, 1)], ids=str)
def test_a_pool_drops_what_does_not_fill_a_window(pool: Pool) -> None:
    rows = {row.name: row for row in expand(Spec((Block((Conv(5),), pool),), (3, 17, 24), 4))}
    wanted = tuple(_positions(extent, pool.kernel, pool.stride, 0) for extent in (17, 24))
    assert rows["block1.pool"].output_shape == (5, *wanted)


@pytest.mark.parametrize(
    "spec", [HAND, arch("alexnet"), arch("vgg16", input_shape=(3, 67, 101))], ids=["hand", "alexnet", "vgg16"]
)
def test_the_table_and_the_spec_agree_on_what_the_head_sees(spec: Spec) -> None:
    flat = next(row for row in expand(spec) if row.kind == "flatten")
    assert flat.output_shape == (math.prod(spec.feature_shape),)
