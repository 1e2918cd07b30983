"""Output in a notebook: tables, and the curves of a run during training."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from .html import COLOURS, chart

EVERY = 1.0
"""Seconds between two drawings of the curves."""


def running() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return an HTML table, in which every text is escaped."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show(text: str) -> None:
    """Display HTML in the cell that is running."""
    from IPython.display import HTML, display

    display(HTML(text))


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
    return html.escape(text).replace("\n", "<br>")


def _drawing(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return one chart as inline SVG, with a legend."""
    coordinates, colours = chart(lines), dict(zip(lines, COLOURS * 9, strict=False))
    paths = "".join(
        f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>'
        for name, points in coordinates["lines"].items()
    )
    ticks = "".join(f'<text x="2" y="{y}" font-size="11">{text}</text>' for _, y, text in coordinates["ticks"])
    ends = "".join(f'<text x="{x}" y="236" font-size="11">{text}</text>' for x, _, text in coordinates["ends"])
    legend = " ".join(f'<b style="color:{colours[name]}">{html.escape(name)}</b>' for name in lines)
    picture = f'<svg viewBox="0 0 560 240" width="560" role="img" aria-label="{title}">{paths}{ticks}{ends}</svg>'
    return f"<figure><figcaption>{title}: {legend}</figcaption>{picture}</figure>"
