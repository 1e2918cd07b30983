"""Measures the speed of torch's convolutions, per layer and in both layouts.

The parts are the forward pass, the gradient of the images and the gradient of the weights. It prints JSON, with a table
for ``python tools/tables.py``, and runs in the environment of ``vgg/process/envs/torch.txt``.

export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
python benchmarks/torch_convolutions.py vgg11_narrow vgg16 > benchmarks/results/torch-convolutions.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from vgg.core.layers import Layer, expand
from vgg.timing import contender, workloads
from vgg.timing.conditions import Conditions
from vgg.timing.contest import SIZE

CONDITIONS = Conditions(rounds=5, env="current")
LAYOUTS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}
PARTS = {"forward": None, "images": (True, False, False), "weights": (False, True, False)}
"""Name of a part -> for a gradient, which of (images, weights, bias) it is computed for."""


def convolutions(workload: workloads.Workload) -> Iterator[tuple[Layer, tuple[int, ...]]]:
    """Yield (row of the layer table, shape (C, H, W) of its input) for each convolution."""
    shape: tuple[int, ...] = workload.spec.input_shape
    for row in expand(workload.spec):
        if row.kind == "conv":
            yield row, shape
        shape = row.output_shape


def works(row: Layer, shape: tuple[int, ...], batch: int, layout: torch.memory_format) -> dict[str, Callable[[], Any]]:
    """Return {name in ``PARTS``: function to time} for inputs of ``shape`` (C, H, W)."""
    kernel, stride, padding = (row.attributes[name] for name in ("kernel", "stride", "padding"))
    out = row.output_shape[0]
    x = torch.randn(batch, *shape).to(memory_format=layout)
    weight = torch.randn(out, shape[0], kernel, kernel).to(memory_format=layout)
    geometry = ([stride] * 2, [padding] * 2, [1, 1])
    grad = torch.randn_like(torch.conv2d(x, weight, None, *geometry))

    def gradient(wanted: tuple[bool, ...]) -> Any:
        return torch.ops.aten.convolution_backward(grad, x, weight, [out], *geometry, False, [0, 0], 1, list(wanted))

    forward = {"forward": lambda: torch.conv2d(x, weight, None, *geometry)}
    return forward | {part: lambda w=wanted: gradient(w) for part, wanted in PARTS.items() if wanted}


def rates(row: Layer, shape: tuple[int, ...], batch: int) -> dict[str, dict[str, float]]:
    """Return the FLOP/s by layout and part for inputs of ``shape`` (C, H, W)."""
    flops = 2 * row.macs * batch
    return {
        name: {part: flops / contender.best(work) for part, work in works(row, shape, batch, layout).items()}
        for name, layout in LAYOUTS.items()
    }


def _shown(row: Layer, part: str, rate: float) -> str:
    """Return ``rate`` as text in GFLOP/s, or a dash for the first layer's images, which need no gradient."""
    return "-" if part == "images" and row.name == "block1.conv1" else f"{rate / 1e9:.0f}"


def main(*names: str) -> None:
    """Time the convolutions of the workloads ``names``, at their batch sizes for a CPU."""
    layer_rates: dict[str, Any] = {}
    rows = []
    for workload in map(workloads.find, names):
        batch = workload.batches["cpu"][0]
        for row, shape in convolutions(workload):
            part_rates = layer_rates[f"{workload.name} {row.name}"] = rates(row, shape, batch)
            extent = f"{shape[0]} to {row.output_shape[0]}, {'x'.join(map(str, shape[1:]))}"
            cells = (_shown(row, part, part_rates[layout][part]) for layout in LAYOUTS for part in PARTS)
            rows.append([workload.name, f"`{row.name}`", extent, *cells])
    heads = ["", "", "channels, extent", *(f"{layout}, {part}" for layout in LAYOUTS for part in PARTS)]
    matrix = torch.from_numpy(contender.noise(SIZE))
    ceiling = 2 * SIZE**3 / contender.best(lambda: matrix @ matrix)
    rows.append(["", "matrix product", f"{SIZE}x{SIZE}", f"{ceiling / 1e9:.0f}", *[""] * (len(heads) - 4)])
    about = {"framework": f"torch {torch.__version__}", "variables": contender.variables()}
    table = {"rates": layer_rates, "ceiling": ceiling, "columns": heads, "rows": rows}
    json.dump({**CONDITIONS.about(), **about, **table}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
