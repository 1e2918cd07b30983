"""The block table: the layer table summed over blocks, with one row per block and one for the dense layers.

Blocks alone do not show all layers with weights: of VGG-11's eleven, eight are convolutions in blocks, and three are
the dense layers of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from .layers import Layer, Shape, expand
from .spec import Spec

HEAD = "head"
"""The name of the row of the dense layers."""


@dataclass(frozen=True)
class BlockRow:
    """One row of the block table.

    ``input_shape`` and ``output_shape`` are without the batch axis. ``convs`` and ``dense`` count layers with weights;
    ``widths`` are the input channels or features of the first, then the output channels or units of each; ``kernels``
    are those of the convolutions, in pixels. ``macs`` are the multiply-accumulates per image.
    """

    name: str
    input_shape: Shape
    output_shape: Shape
    convs: int
    dense: int
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    params: int
    macs: int


def block_table(spec: Spec) -> tuple[BlockRow, ...]:
    """Return the block table of ``spec``: its blocks from the input on, then the head with flatten and dense layers.

    Raises ``VGGError`` when ``spec`` is not a ``Spec``.
    """
    rows: list[BlockRow] = []
    shape: Shape = getattr(spec, "input_shape", ())
    for name, layers in groupby(expand(spec), key=_place):
        rows.append(_row(name, shape, tuple(layers)))
        shape = rows[-1].output_shape
    return tuple(rows)


def _place(layer: Layer) -> str:
    return layer.name.partition(".")[0] if layer.name.startswith("block") else HEAD


def _row(name: str, shape: Shape, layers: tuple[Layer, ...]) -> BlockRow:
    convs = [layer for layer in layers if layer.kind == "conv"]
    dense = [layer for layer in layers if layer.kind == "dense"]
    return BlockRow(
        name,
        shape,
        layers[-1].output_shape,
        len(convs),
        len(dense),
        (_inputs((*convs, *dense)[0]), *(layer.output_shape[0] for layer in (*convs, *dense))),
        tuple(layer.attributes["kernel"] for layer in convs),
        sum(layer.params for layer in layers),
        sum(layer.macs for layer in layers),
    )


def _inputs(layer: Layer) -> int:
    return layer.parameters[f"{layer.name}.weight"][1]


def counted(rows: tuple[BlockRow, ...]) -> str:
    """Return one line that says where the layers with weights are, of which a network's number counts all."""
    convs, dense, blocks = sum(row.convs for row in rows), sum(row.dense for row in rows), len(rows) - 1
    where = f"{_many(convs, 'convolution')} in {_many(blocks, 'block')}, {_many(dense, 'dense layer')} in the head"
    return f"{_many(convs + dense, 'layer')} with weights: {where}"


def layers_text(row: BlockRow) -> str:
    """Return what layers with weights a row has: ``2 conv 3x3, 1 conv 1x1`` or ``3 dense``."""
    if row.dense:
        return f"{row.dense} dense"
    runs = [(kernel, len(list(run))) for kernel, run in groupby(row.kernels)]
    return ", ".join(f"{count} conv {kernel}x{kernel}" for kernel, count in runs)


def widths_text(row: BlockRow) -> str:
    """Return the widths from the input of a row to its output: ``64 -> 128 -> 128``."""
    return " -> ".join(map(str, row.widths))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
