"""Quantities with their intervals, as points on a line per backend: speed, compile time, memory, accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from .figures import INK, MUTED, PAPER, SERIES, figure, plain
from .palette import Mark, finite, label, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Point(NamedTuple):
    """A quantity of one backend; ``low`` and ``high`` are the ends of its interval, None when it has none."""

    value: float
    low: float | None = None
    high: float | None = None


class Panel(NamedTuple):
    """One quantity: its name with the unit, and the points of the backends."""

    title: str
    points: Mapping[str, Point]
    from_zero: bool = True


def mean(statistics: Mapping[str, Any] | None) -> Point | None:
    """Return a mean over runs with its 95 % interval by Student, or None when there are fewer than two runs."""
    from scipy.special import stdtrit  # slow to import

    if not statistics or statistics["count"] < 2 or not finite(statistics.get("deviation")):
        return None
    middle, count = statistics["mean"], statistics["count"]
    half = float(stdtrit(count - 1, 0.975)) * statistics["deviation"] / math.sqrt(count)
    return Point(middle, middle - half, middle + half)


def spread(values: Sequence[float]) -> Point | None:
    """Return the median of values from several runs with their range, or None without values."""
    values = sorted(filter(finite, values))
    return Point(values[len(values) // 2], values[0], values[-1]) if values else None


def of_steps(rows: Sequence[Mapping[str, Any]], batch: Any, rate: float) -> Point:
    """Return images per second of one run with the middle half of its steps, which is no interval of the mean."""
    seconds = [row["seconds"] for row in rows if "step" in row and finite(row.get("seconds")) and row["seconds"] > 0]
    if len(seconds) < 8 or not finite(batch):
        return Point(rate)
    low, _, high = quantiles(batch / one for one in seconds)
    return Point(rate, min(low, rate), max(high, rate))


def drawn(panels: Sequence[Panel], marks: Mapping[str, Mark], title: str) -> list[Markup]:
    """Return a figure per panel, with backends in rows. A panel without a point is left out."""
    return [_figure(panel, list(marks), marks, title) for panel in panels if panel.points]


def _figure(panel: Panel, names: Sequence[str], marks: Mapping[str, Mark], title: str) -> Markup:
    def draw(axes: Axes) -> None:
        _draw(axes, panel, names, marks)
        axes.set_yticks(range(len(names)), [label(name, 16) for name in names])
        axes.tick_params(axis="y", labelcolor=INK)

    about = listed([f"{name} {point.value:.3g}" for name, point in panel.points.items()])
    return figure(draw, f"{title}: {panel.title}", about, size=(5.2, 1.0 + 0.38 * len(names)))


def _draw(axes: Axes, panel: Panel, names: Sequence[str], marks: Mapping[str, Mark]) -> None:
    for y, name in enumerate(names):
        point = panel.points.get(name)
        if point is None:
            axes.annotate("not measured", (0, y), xycoords=("axes fraction", "data"), color=MUTED, va="center")
            continue
        colour, mark = SERIES[marks[name].number], marks[name]
        if point.low is not None and point.high is not None:
            axes.plot([point.low, point.high], [y, y], color=colour, linewidth=1.8, marker="|", markersize=11)
        inside = colour if point.low is not None else PAPER
        axes.plot(
            [point.value], [y], mark.marker, color=colour, markerfacecolor=inside, markersize=6.5, markeredgewidth=1.8
        )
    plain(axes, grid="x")
    top = max(max(p.value, p.high or 0) for p in panel.points.values())
    axes.set(ylim=(len(names) - 0.5, -0.5))
    if panel.from_zero:
        axes.set(xlim=(0, top * 1.08 or 1))
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(panel.title, loc="left", color=INK, fontsize=12)
