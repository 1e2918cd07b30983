"""The curves of training: loss over the steps and accuracy over the epochs, with the spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .figures import MUTED, SERIES, WORDS, figure, plain
from .palette import Mark, finite, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
Histories = Mapping[str, Sequence[Rows]]
"""Backend -> the rows of ``metrics.jsonl`` of each of its runs."""
Numbers = NDArray[np.float64]
POINTS = 150
"""The most points of a line: a page does not grow with the number of steps."""
LEAST = 0.01
"""The least difference between the ends of the axis of accuracies."""
WINDOW = 15
"""A smoothed loss is the mean over this share of the steps: one in ``WINDOW``."""


def loss(histories: Histories, marks: Mapping[str, Mark]) -> Markup | None:
    """Return the figure of the training loss, or None when no run has any."""
    lines = {name: [line for rows in runs if (line := _losses(rows)) is not None] for name, runs in histories.items()}
    lines = {name: runs for name, runs in lines.items() if runs}
    if not lines:
        return None

    def draw(axes: Axes) -> None:
        for name, runs in lines.items():
            _draw_loss(axes, runs, marks[name])
        plain(axes)
        last = max(run[-1, 0] for runs in lines.values() for run in runs)
        axes.set(xlabel="epochs", xlim=(0, max(1, math.ceil(last))), ylim=(0, _height(lines)))
        _whole_epochs(axes)
        _named(axes, lines, marks)

    return figure(draw, "Training loss", "Loss of every batch and its running mean, by backend.")


def accuracy(histories: Histories, marks: Mapping[str, Mark]) -> Markup | None:
    """Return the figure of the accuracy after each epoch, or None when no run has any."""
    lines = {name: [p for rows in runs if len(p := _accuracies(rows))] for name, runs in histories.items()}
    lines = {name: runs for name, runs in lines.items() if runs}
    if not lines:
        return None

    def draw(axes: Axes) -> None:
        for name, runs in lines.items():
            _draw_accuracy(axes, runs, marks[name])
        plain(axes)
        axes.set(xlabel="epochs")
        _whole_epochs(axes)
        _percents(axes)
        _named(axes, lines, marks)

    return figure(draw, "Accuracy", "Share of images that are classified rightly after each epoch, by backend.")


def numbers(rows: Rows) -> tuple[Numbers | None, dict[int, float]]:
    """Return what is drawn of a run: (epoch, loss) of its steps, and its accuracy by epoch."""
    return _losses(rows), _accuracies(rows)


def _losses(rows: Rows) -> Numbers | None:
    """Return (epoch, loss) of the steps, (N, 2), or None when there are none. Others than numbers are left out."""
    steps = [row for row in rows if "loss" in row and finite(row["loss"])]
    if not steps:
        return None
    each = 1 + max(row["step"] for row in steps)
    return np.array([(row["epoch"] + row["step"] / each, row["loss"]) for row in steps])


def _accuracies(rows: Rows) -> dict[int, float]:
    names = ("validation_accuracy", "test_accuracy")
    return {row["epoch"] + 1: row[name] for row in rows for name in names if name in row and finite(row[name])}


def _smooth(values: Numbers) -> Numbers:
    """Return the running mean, with a window that shrinks at both ends."""
    half = max(1, len(values) // WINDOW // 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.minimum(np.arange(len(values)) + half + 1, len(values))
    starts = np.maximum(np.arange(len(values)) - half, 0)
    means: Numbers = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _draw_loss(axes: Axes, runs: Sequence[Numbers], mark: Mark) -> None:
    colour, first = SERIES[mark.number], runs[0]
    places = np.linspace(max(r[0, 0] for r in runs), min(r[-1, 0] for r in runs), min(POINTS, len(first)))
    smooth = np.array([np.interp(places, run[:, 0], _smooth(run[:, 1])) for run in runs])
    if len(runs) > 1:
        axes.fill_between(places, smooth.min(axis=0), smooth.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    else:
        low, high, middle = _envelope(first)
        axes.fill_between(middle, low, high, color=colour, alpha=0.1, linewidth=0)
    axes.plot(places, smooth.mean(axis=0), color=colour, linestyle=mark.dash, linewidth=2)


def _envelope(line: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the smallest and the largest losses in parts of the steps, and the parts' places."""
    parts = np.array_split(line, min(POINTS // 2, max(1, len(line) // 3)))
    ends = [(part[:, 1].min(), part[:, 1].max(), part[:, 0].mean()) for part in parts]
    low, high, middle = np.array(ends).T
    return low, high, middle


def _draw_accuracy(axes: Axes, runs: Sequence[Mapping[int, float]], mark: Mark) -> None:
    epochs = sorted(set.intersection(*(set(run) for run in runs))) or sorted(runs[0])
    values = np.array([[run.get(epoch, math.nan) for epoch in epochs] for run in runs])
    if len(epochs) > POINTS:
        keep = np.unique(np.linspace(0, len(epochs) - 1, POINTS).astype(int))
        epochs, values = [epochs[i] for i in keep], values[:, keep]
    colour = SERIES[mark.number]
    if len(runs) > 1:
        _draw_band(axes, epochs, values, colour)
    marker: dict[str, Any] = {"marker": mark.marker, "markersize": 6} if len(epochs) <= 20 else {}
    axes.plot(epochs, values.mean(axis=0), color=colour, linestyle=mark.dash, linewidth=2, **marker)


def _draw_band(axes: Axes, epochs: Sequence[int], values: Numbers, colour: str) -> None:
    """Draw what lies between the lowest and the highest of several runs; of one epoch, a band has no width."""
    low, high = values.min(axis=0), values.max(axis=0)
    if len(epochs) == 1:
        axes.vlines(epochs, low, high, color=colour, alpha=0.4, linewidth=6)
    axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)


def _whole_epochs(axes: Axes) -> None:
    """Give the axis of epochs ticks at whole numbers only, also where it shows a single one."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _percents(axes: Axes) -> None:
    """Give the axis of accuracies at least one percent of height, and as many decimals as tell its ticks apart."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    low, high = axes.get_ylim()
    room = max(0.0, LEAST - (high - low)) / 2
    axes.set(ylim=(low - room, min(high + room, 1.02)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    ticks = axes.get_yticks()
    decimals = math.ceil(-math.log10(100 * (ticks[1] - ticks[0])) - 1e-6)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=max(0, decimals)))


def _height(lines: Mapping[str, Sequence[Numbers]]) -> float:
    """Return the upper end of the loss axis: one outlier does not press all curves to the ground."""
    losses = np.concatenate([run[:, 1] for runs in lines.values() for run in runs])
    return float(max(np.quantile(losses, 0.99), losses[0]) * 1.05) or 1.0


def _named(axes: Axes, names: Mapping[str, Any], marks: Mapping[str, Mark]) -> None:
    """Write the names of the lines beside their ends, far enough apart to be read."""
    ends = [np.array(line.get_xydata())[-1] for line in axes.lines]
    low, high = axes.get_ylim()
    right = max(float(x) for x, _ in ends)
    place: dict[str, Any] = {"xytext": (10, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
    heights = sorted((float(end[1]), name) for end, name in zip(ends, names, strict=False))
    for y, (_, name) in zip(_apart([y for y, _ in heights], (high - low) / 14, high), heights, strict=True):
        axes.annotate(label(name), (right, y), color=WORDS[marks[name].number], fontweight="bold", **place)
    axes.margins(x=0.02)
    axes.spines["bottom"].set_color(MUTED)


def _apart(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Return rising heights moved so that they are ``gap`` apart and, if there is room, below ``top``."""
    moved = list(heights)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], top if i == len(moved) - 1 else moved[i + 1] - gap)
    return moved
