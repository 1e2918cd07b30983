"""Output in a notebook: tables, and the curves of a run during training."""

from __future__ import annotations

import html
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ..core import layers
from ..core.errors import VGGError
from ..core.spec import Spec
from ..core.texts import printable

WIDTH, HEIGHT, MARGIN = 560, 240, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colours of Okabe and Ito, which colour-blind readers tell apart."""
PLATE = "#7f9db3"
"""The colour of activations in the drawing of a network."""
_NAMED = {"ink": "currentColor", "muted": "#808080", "grid": "#80808040", "paper": "none"}
_NAMED |= {f"{kind}{i}": colour for kind in "ct" for i, colour in enumerate(COLOURS)}
"""Colours by their names in the style sheet, of which some are right on light and on dark."""
EVERY = 1.0
"""Seconds between two drawings of the curves."""


def running() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return an HTML table, in which every text is escaped."""
    head = "".join(f"<th>{_escaped(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    caption = f"<caption>{_escaped(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show(text: str) -> None:
    """Display HTML in the cell that is running."""
    from IPython.display import HTML, display

    display(HTML(text))


def network(spec: Spec) -> str:
    """Return the drawing of a network as HTML: its blocks and its head, every area true to its number of values."""
    from .page import architecture

    rows = layers.expand(spec)
    cells = []
    for part in architecture.parts(rows, layers.totals(rows)):
        width, height = part.extent
        size = f'width="{width:.0f}" height="{max(height, 2):.0f}" fill="{PLATE}"'
        drawing = str(part.svg).replace('class="plates"', size)
        cells.append(f'<td style="vertical-align: bottom">{drawing}<br><b>{part.name}</b><br>{part.caption}</td>')
    return f"<table><tr>{''.join(cells)}</tr></table>"


def comparison(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    """Return the table of a comparison or of one run as HTML, with the curves of the page.

    ``result`` and ``runs`` are those of ``vgg.report.html.page``. Runs whose files cannot be read have no curves.
    """
    from .rows import texts

    rows = table(["", *result["backends"]], [[row, *cells] for row, cells in texts(result).items()])
    try:
        return rows + _curves(result, runs)
    except VGGError:
        return rows


def _curves(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    from .page import curves, files, palette

    read = {name: [one.rows for one in files.read(result["backends"][name], run)] for name, run in runs.items()}
    marks = palette.marks(result["backends"])
    figures = [figure for figure in (curves.loss(read, marks), curves.accuracy(read, marks)) if figure]
    return "".join(f'<div style="max-width: 620px">{_coloured(str(figure))}</div>' for figure in figures)


def _coloured(figure: str) -> str:
    """Return a figure of the page with colours of its own: a notebook lacks the page's style sheet."""
    for name, colour in _NAMED.items():
        figure = figure.replace(f"var(--{name})", colour)
    return figure


class Live:
    """A ``Listener`` that draws the loss and accuracy of every backend during training, in the cell that is running."""

    def __init__(self) -> None:
        self._losses: dict[str, list[tuple[float, float]]] = {}
        self._accuracies: dict[str, list[tuple[float, float]]] = {}
        self._stage, self._last_drawing, self._handle = "", 0.0, None

    def __enter__(self) -> Self:
        from IPython.display import HTML, display

        self._handle = display(HTML("starting"), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._draw()

    def stage(self, backend: str, what: str, total: int | None = None) -> None:  # noqa: ARG002 - steps are seen as they come
        """Show that ``backend`` begins the work ``what``."""
        self._stage = f"{backend}: {what}"
        self._draw()

    def event(self, backend: str, event: Mapping[str, Any]) -> None:
        """Add a training step, or the evaluation after an epoch. An empty event is only a sign of life."""
        if "loss" in event:
            line = self._losses.setdefault(backend, [])
            line.append((len(line), event["loss"]))
        for name in ("validation_accuracy", "test_accuracy"):
            if name in event:
                self._accuracies.setdefault(backend, []).append((event["epoch"] + 1, event[name]))
        if time.monotonic() - self._last_drawing > EVERY:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML

        self._last_drawing = time.monotonic()
        charts = {"training loss": self._losses, "accuracy": self._accuracies}
        drawings = "".join(_drawing(title, lines) for title, lines in charts.items() if lines)
        if self._handle:
            self._handle.update(HTML(f"<div>{html.escape(self._stage)}</div>{drawings}"))


def paragraphs(lines: Sequence[str]) -> str:
    """Return an HTML paragraph per line, in which every text is escaped."""
    return "".join(f"<p>{_escaped(line)}</p>" for line in lines)


def _escaped(text: str) -> str:
    """Return ``text`` as HTML, with escapes for what is not printable, as in a page."""
    return html.escape(printable(text, "\n")).replace("\n", "<br>")


def _drawing(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return one chart as inline SVG, with a legend."""
    coordinates, colours = _chart(lines), dict(zip(lines, COLOURS * 9, strict=False))
    paths = "".join(
        f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>'
        for name, points in coordinates["lines"].items()
    )
    ticks = "".join(f'<text x="2" y="{y}" font-size="11">{text}</text>' for _, y, text in coordinates["ticks"])
    ends = "".join(f'<text x="{x}" y="236" font-size="11">{text}</text>' for x, _, text in coordinates["ends"])
    legend = " ".join(f'<b style="color:{colours[name]}">{html.escape(name)}</b>' for name in lines)
    picture = f'<svg viewBox="0 0 560 240" width="560" role="img" aria-label="{title}">{paths}{ticks}{ends}</svg>'
    return f"<figure><figcaption>{title}: {legend}</figcaption>{picture}</figure>"


def _chart(series: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Return the SVG coordinates of each line in ``lines``, and of the axes' labels in ``ticks`` and ``ends``.

    ``series`` maps the name of a line to its points (x, y). Points that are not finite are left out, and so are lines
    without a point.
    """
    lines = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    points = [point for line in lines.values() for point in line] or [(0.0, 0.0)]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(0.0, *(y for _, y in points), 0.0), max(y for _, y in points)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / ((right - left) or 1)
        up = (y - low) / ((high - low) or 1)
        return round(MARGIN + across * (WIDTH - 2 * MARGIN), 1), round(HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN), 1)

    ticks = [(*at(left, low + (high - low) * i / 4), f"{low + (high - low) * i / 4:.2f}") for i in range(5)]
    return {
        "lines": {
            name: " ".join(f"{x},{y}" for x, y in (at(*point) for point in line))
            for name, line in lines.items()
            if line
        },
        "ticks": ticks,
        "ends": [(*at(left, low), f"{left:g}"), (*at(right, low), f"{right:g}")],
    }
