"""How fast torch convolves: forward, gradient of the images, gradient of the weights, in both layouts, layer by layer.
JSON, and a table within it, for ``python tools/tables.py``; in the environment of ``vgg/process/envs/torch.txt``.

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
"""What is computed, and for a gradient the outputs that are asked for."""


def convolutions(workload: workloads.Workload) -> Iterator[tuple[Layer, tuple[int, ...]]]:
    """Each, and the shape (C, H, W) of what it is given."""
    given: tuple[int, ...] = workload.spec.input_shape
    for row in expand(workload.spec):
        if row.kind == "conv":
            yield row, given
        given = row.output_shape


def works(row: Layer, given: tuple[int, ...], batch: int, layout: torch.memory_format) -> dict[str, Callable[[], Any]]:
    """What to time, by its name in ``PARTS``."""
    kernel, stride, padding = (row.attributes[name] for name in ("kernel", "stride", "padding"))
    out = row.output_shape[0]
    x = torch.randn(batch, *given).to(memory_format=layout)
    weight = torch.randn(out, given[0], kernel, kernel).to(memory_format=layout)
    geometry = ([stride] * 2, [padding] * 2, [1, 1])
    grad = torch.randn_like(torch.conv2d(x, weight, None, *geometry))

    def differentiated(wanted: tuple[bool, ...]) -> Any:
        return torch.ops.aten.convolution_backward(grad, x, weight, [out], *geometry, False, [0, 0], 1, list(wanted))

    forward = {"forward": lambda: torch.conv2d(x, weight, None, *geometry)}
    return forward | {part: lambda w=wanted: differentiated(w) for part, wanted in PARTS.items() if wanted}


def rates(row: Layer, given: tuple[int, ...], batch: int) -> dict[str, dict[str, float]]:
    """FLOP/s by layout and part."""
    flops = 2 * row.macs * batch
    return {
        name: {part: flops / contender.best(work) for part, work in works(row, given, batch, layout).items()}
        for name, layout in LAYOUTS.items()
    }


def _shown(row: Layer, part: str, rate: float) -> str:
    """In GFLOP/s; a first layer's images need no gradient."""
    return "-" if part == "images" and row.name == "block1.conv1" else f"{rate / 1e9:.0f}"


def main(*names: str) -> None:
    """Time the convolutions of these workloads, at their batch sizes on a CPU."""
    found: dict[str, Any] = {}
    rows = []
    for workload in map(workloads.find, names):
        batch = workload.batches["cpu"][0]
        for row, given in convolutions(workload):
            timed = found[f"{workload.name} {row.name}"] = rates(row, given, batch)
            shape = f"{given[0]} to {row.output_shape[0]}, {'x'.join(map(str, given[1:]))}"
            cells = (_shown(row, part, timed[layout][part]) for layout in LAYOUTS for part in PARTS)
            rows.append([workload.name, f"`{row.name}`", shape, *cells])
    heads = ["", "", "channels, extent", *(f"{layout}, {part}" for layout in LAYOUTS for part in PARTS)]
    matrix = torch.from_numpy(contender.noise(SIZE))
    ceiling = 2 * SIZE**3 / contender.best(lambda: matrix @ matrix)
    rows.append(["", "matrix product", f"{SIZE}x{SIZE}", f"{ceiling / 1e9:.0f}", *[""] * (len(heads) - 4)])
    about = {"framework": f"torch {torch.__version__}", "variables": contender.variables()}
    table = {"rates": found, "ceiling": ceiling, "columns": heads, "rows": rows}
    json.dump({**CONDITIONS.about(), **about, **table}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
