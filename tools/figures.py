"""The figures of the documentation, drawn from numbers.

``python tools/figures.py`` writes them to ``docs/figures``: the receptive fields of convolutions, as the oracle
computes them, and the curves of the committed run ``benchmarks/results/lesson-digits.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg import Block, Conv, Head, Spec, shapes
from vgg.core import oracle
from vgg.core.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
FIGURES, RUN = ROOT / "docs" / "figures", ROOT / "benchmarks" / "results" / "lesson-digits.json"
COLOURS = {"torch": "#b3261e", "tensorflow": "#9a5b00", "jax": "#1d5fa8", "mxnet": "#2e7d32"}
DASHES = {"torch": "", "tensorflow": "7 3", "jax": "2 3", "mxnet": "9 3 2 3"}
CELL, GAP, TOP = 30, 40, 44
"""In pixels: the side of a cell, the gap between grids, and the room for titles."""
STEP = 124
"""In pixels: from one box of the overview to the next."""
WIDE, HIGH, LEFT, BASE = 640, 300, 56, 34
"""In pixels: the size of a plot, and the room for the labels of its axes."""
RECENT = 10
"""Number of steps that a point of a curve is the mean of."""


def paths(kernels: Sequence[int]) -> NDArray[np.int64]:
    """Return, for every pixel of the receptive field, the number of ways to the middle output of a stack.

    The oracle runs images that are 1 at one pixel and 0 elsewhere through convolutions whose weights are all 1.
    """
    side = 1 + sum(kernel - 1 for kernel in kernels)
    convs = tuple(Conv(1, kernel, padding=0) for kernel in kernels)
    spec = Spec((Block(convs, None),), (1, side, side), classes=1, head=Head((), 0.0))
    ones = {name: np.full(shape, float(name.endswith("weight"))) for name, shape in shapes(spec).items()}
    pixels = np.eye(side * side).reshape(-1, 1, side, side)
    return oracle.forward(spec, ones, pixels).logits.round().astype(np.int64).reshape(side, side)


def receptive_fields() -> str:
    """Return the figure that compares two 3x3 convolutions with one 5x5, and three with one 7x7."""
    pairs = (((3, 3), (5,)), ((3, 3, 3), (7,)))
    marks, y, width = list[str](), 0, 0
    for pair in pairs:
        x, height = GAP // 2, 0
        for kernels in pair:
            counts = paths(kernels)
            marks += _grid(counts, x, y + TOP, " then ".join(f"{kernel}x{kernel}" for kernel in kernels))
            x += len(counts) * CELL + 3 * GAP
            height = len(counts) * CELL
        y += height + TOP + GAP // 2
        width = max(width, x - 2 * GAP)
    about = "Receptive fields: each cell shows in how many ways a pixel reaches the middle output."
    return _svg(width, y, about, marks)


def _grid(counts: NDArray[np.int64], x: int, y: int, title: str) -> Iterator[str]:
    many = "way" if counts.max() == 1 else "ways"
    yield f'<text x="{x}" y="{y - 22}" font-weight="600">{title}</text>'
    about = f"sees {len(counts)}x{len(counts)} pixels, at most {counts.max()} {many} each"
    yield f'<text x="{x}" y="{y - 7}" font-size="12">{about}</text>'
    for (row, column), count in np.ndenumerate(counts):
        share = 0.12 + 0.88 * count / counts.max() if counts.max() > 1 else 0.3
        shade = [round(255 - share * (255 - part)) for part in (0x1D, 0x5F, 0xA8)]
        place = f'x="{x + column * CELL}" y="{y + row * CELL}"'
        yield f'<rect {place} width="{CELL}" height="{CELL}" fill="rgb{tuple(shade)}" stroke="#fff"/>'
        ink = "#fff" if share > 0.85 else "#111"
        middle = f'x="{x + column * CELL + CELL // 2}" y="{y + row * CELL + CELL // 2 + 4}"'
        yield f'<text {middle} text-anchor="middle" fill="{ink}" font-size="11">{count}</text>'


def curves() -> str:
    """Return the figure of the four training losses."""
    lines = {name: _smooth(run["losses"]) for name, run in _run()["curves"]["runs"].items()}
    steps, top = max(map(len, lines.values())), max(max(line) for line in lines.values())
    marks = list(_axes(steps + RECENT - 1, top))
    for i, (name, line) in enumerate(lines.items()):
        points = " ".join(
            f"{LEFT + (step + RECENT - 1) / (steps + RECENT - 1) * (WIDE - LEFT - 16):.1f},"
            f"{16 + (1 - loss / top) * (HIGH - BASE - 16):.1f}"
            for step, loss in enumerate(line)
        )
        style = f'fill="none" stroke="{COLOURS[name]}" stroke-width="2" stroke-dasharray="{DASHES[name]}"'
        marks.append(f'<polyline points="{points}" {style}/>')
        y = 26 + 20 * i
        marks.append(f'<line x1="{WIDE - 160}" y1="{y}" x2="{WIDE - 120}" y2="{y}" {style}/>')
        marks.append(f'<text x="{WIDE - 112}" y="{y + 4}">{name}</text>')
    about = "Training loss of the narrow VGG-11 on the digits in four frameworks, by step."
    return _svg(WIDE, HIGH, about, marks)


def _smooth(losses: Sequence[float]) -> list[float]:
    return list(map(float, np.convolve(losses, np.full(RECENT, 1 / RECENT), "valid")))


def _axes(steps: int, top: float) -> Iterator[str]:
    bottom, right = HIGH - BASE, WIDE - 16
    yield f'<path d="M{LEFT},16V{bottom}H{right}" fill="none" stroke="#444"/>'
    for share in (0, 0.25, 0.5, 0.75, 1):
        y, x = 16 + (1 - share) * (bottom - 16), LEFT + share * (right - LEFT)
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share * top:.1f}</text>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{share * steps:.0f}</text>'
    yield f'<text x="{(LEFT + right) / 2:.1f}" y="{HIGH - 4}" text-anchor="middle">step</text>'
    y = round(bottom / 2 + 40)
    yield f'<text x="12" y="{y}" transform="rotate(-90 12 {y})">training loss</text>'


def _svg(width: int, height: int, about: str, marks: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="system-ui, sans-serif" font-size="13">'
    )
    return "\n".join(
        [head, f"<title>{about}</title>", '<rect width="100%" height="100%" fill="#fff"/>', *marks, "</svg>\n"]
    )


def _run() -> dict[str, Any]:
    return dict(json.loads(RUN.read_text(encoding="utf-8")))


def overview() -> str:
    """Return the picture of the project: one description, five networks, one comparison."""
    boxes = [
        ("PyTorch", "Sequential"),
        ("TensorFlow", "Keras"),
        ("JAX", "Flax module"),
        ("MXNet", "Gluon"),
        ("the oracle", "float64 NumPy"),
    ]
    middle, marks = (len(boxes) * STEP + 20) // 2, list[str]()
    for i, (name, kind) in enumerate(boxes):
        x = 20 + i * STEP + (STEP - 20) // 2
        marks.append(f'<path d="M{middle},58L{x},92M{x},152L{middle},190" stroke="#444" fill="none"/>')
        marks += _box(x, 92, STEP - 20, name, kind, "#dfe8f3" if i < len(boxes) - 1 else "#e3f1e4")
    marks += _box(middle, 8, 330, "one description", "blocks, channels, classes, input", "#fff")
    marks += _box(middle, 190, 330, "compared", "layers, gradients, steps; each limit derived", "#fff")
    return _svg(2 * middle, 258, "One description, four native networks and the oracle, and their comparison.", marks)


def _box(x: int, y: int, width: int, title: str, about: str, fill: str) -> Iterator[str]:
    yield f'<rect x="{x - width // 2}" y="{y}" width="{width}" height="60" rx="6" fill="{fill}" stroke="#444"/>'
    yield f'<text x="{x}" y="{y + 26}" text-anchor="middle" font-weight="600" font-size="15">{title}</text>'
    yield f'<text x="{x}" y="{y + 46}" text-anchor="middle" font-size="12">{about}</text>'


DRAWINGS: dict[str, Callable[[], str]] = {
    "overview.svg": overview,
    "receptive-fields.svg": receptive_fields,
    "curves.svg": curves,
}

if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    for name, drawing in DRAWINGS.items():
        write_atomically(FIGURES / name, drawing().encode())
