"""The layer table: one row per layer of a spec, computed without the code that builds models.

Backends read ``spec.blocks`` and let their framework infer shapes; this table infers them by itself. The suite compares
the two, so neither can hide a mistake of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .blocks import Block
from .errors import mismatch
from .spec import Spec
from .texts import shown
from .values import instance

Shape = tuple[int, ...]
STATISTICS = ("running_mean", "running_var")
"""Names of the arrays that the forward pass updates. They are stored like parameters, but not trained or counted."""


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    ``output_shape`` is without the batch axis; ``macs`` are the multiply-accumulates per image; ``parameters`` maps
    canonical names to shapes; ``attributes`` holds what the kind needs besides: kernel, stride, padding, rate.
    """

    name: str
    kind: str
    output_shape: Shape
    macs: int = 0
    parameters: dict[str, Shape] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> int:
        """The number of values of this layer that are trained."""
        return sum(math.prod(s) for name, s in self.parameters.items() if not name.endswith(STATISTICS))


@dataclass(frozen=True)
class Totals:
    """Sums over a layer table.

    ``activations`` is the number of output values per image, with those of ReLU and dropout; ``macs`` are per image.
    """

    params: int
    macs: int
    activations: int
    conv_params: int
    conv_macs: int


def expand(spec: Spec) -> tuple[Layer, ...]:
    """Return the layer table of ``spec``, from the input to the logits, in the order of computation.

    Raises ``VGGError`` when ``spec`` is not a ``Spec``.
    """
    instance("spec", spec, Spec, "a Spec, as vgg.arch returns it")
    rows: list[Layer] = []
    shape: Shape = spec.input_shape
    for number, block in enumerate(spec.blocks, 1):
        rows.extend(_block_rows(f"block{number}", block, shape, spec.batch_norm))
        shape = rows[-1].output_shape
    rows.extend(_head_rows(spec, shape))
    return tuple(rows)


def totals(table: tuple[Layer, ...]) -> Totals:
    """Return the sums over a layer table: parameters, MACs and activations, and those of the convolutions.

    Raises ``VGGError`` when ``table`` is not what ``expand`` returns.
    """
    if not isinstance(table, (tuple, list)) or not all(isinstance(row, Layer) for row in table):
        raise mismatch("table", shown(table), "the layer table that vgg.expand returns")
    convs = [row for row in table if row.kind == "conv"]
    return Totals(
        params=sum(row.params for row in table),
        macs=sum(row.macs for row in table),
        activations=sum(math.prod(row.output_shape) for row in table),
        conv_params=sum(row.params for row in convs),
        conv_macs=sum(row.macs for row in convs),
    )


def _block_rows(prefix: str, block: Block, shape: Shape, batch_norm: bool) -> Iterator[Layer]:
    for i, conv in enumerate(block.convs, 1):
        window = {"kernel": conv.kernel, "stride": conv.stride, "padding": conv.padding}
        weight = (conv.channels, shape[0], conv.kernel, conv.kernel)
        shape = (conv.channels, *_swept(shape[1:], **window))
        macs = math.prod(weight) * shape[1] * shape[2]
        yield Layer(f"{prefix}.conv{i}", "conv", shape, macs, _affine(f"{prefix}.conv{i}", weight), window)
        if batch_norm:
            yield Layer(f"{prefix}.bn{i}", "batch_norm", shape, 0, _normalised(f"{prefix}.bn{i}", shape[0]))
        yield Layer(f"{prefix}.relu{i}", "relu", shape)
        if conv.lrn:
            yield Layer(f"{prefix}.lrn{i}", "lrn", shape)
    if block.pool:
        window = {"kernel": block.pool.kernel, "stride": block.pool.stride}
        yield Layer(f"{prefix}.pool", "max_pool", (shape[0], *_swept(shape[1:], **window)), attributes=window)


def _head_rows(spec: Spec, shape: Shape) -> Iterator[Layer]:
    width = shape[0] if spec.head.global_pool else math.prod(shape)
    kind = "global_avg_pool" if spec.head.global_pool else "flatten"
    yield Layer(kind, kind, (width,))
    for i, out in enumerate((*spec.head.hidden, spec.classes), 1):
        yield Layer(f"fc{i}", "dense", (out,), width * out, _affine(f"fc{i}", (out, width)))
        if i <= len(spec.head.hidden):
            yield Layer(f"fc{i}.relu", "relu", (out,))
            if spec.head.dropout:
                yield Layer(f"fc{i}.dropout", "dropout", (out,), attributes={"rate": spec.head.dropout})
        width = out


def _swept(extents: Shape, kernel: int, stride: int, padding: int = 0) -> Shape:
    return tuple((n + 2 * padding - kernel) // stride + 1 for n in extents)


def _affine(name: str, weight: Shape) -> dict[str, Shape]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _normalised(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", *STATISTICS)}
