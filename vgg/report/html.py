"""The HTML page of a comparison or of one run: verdicts, curves, the network, the recipe and the facts.

The page has no script and needs no other file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core import layers
from ..core.errors import BackendError, VGGError
from ..core.spec import Spec
from ..core.texts import printable, shortened
from . import template
from .rows import texts

WIDTH, HEIGHT, MARGIN = 560, 240, 40
CHARTS = {
    "Training loss, each step": "loss",
    "Validation accuracy, each epoch": "validation_accuracy",
    "Test accuracy, each epoch": "test_accuracy",
}
COLOURS = ("#c8401f", "#d58a00", "#2660a4", "#2f7d4f", "#7b4397", "#555555")


def page(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    """Return the HTML text of the page about a comparison or about one run.

    ``result`` is the contents of ``compare.json``. For a single run it has the same form, except that it lacks ``ok``
    and the results of the proof. ``runs`` maps each backend to its run directory, whose metrics and evaluation are
    shown. Raises ``VGGError``, which names the file and the field, when one of these is not as vgg wrote it.
    """
    from ..training import history  # NumPy is slow to import, and `vgg show` needs none
    from .evaluations import classes, read

    spec, evaluations = Spec.from_dict(result["spec"]), read(runs)
    table = layers.expand(spec)
    paths = {name: run / history.NAME for name, run in runs.items()}
    metrics = {name: history.read(path) if path.exists() else [] for name, path in paths.items()}
    text = template("report.html.jinja").render(
        result=result,
        spec=spec,
        table=table,
        totals=layers.totals(table),
        rows=texts(result),
        evaluations=evaluations,
        classes=classes(evaluations),
        colours=dict(zip(result["backends"], COLOURS * 9, strict=False)),
        charts={
            title: chart({name: _curve(rows, key) for name, rows in metrics.items()})
            for title, key in CHARTS.items()
            if any(key in row for rows in metrics.values() for row in rows)
        },
    )
    return text.encode(errors="backslashreplace").decode()  # what a backend says may not be Unicode


def checked_page(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    """Return ``page(result, runs)``.

    Raises ``BackendError`` when it cannot be made: workers write the run directories, and may write anything there.
    """
    try:
        text = page(result, runs)
        text.encode()
    except VGGError as error:
        raise BackendError(str(error)) from error
    except Exception as error:
        places, reason = ", ".join(map(str, runs.values())), shortened(printable(f"{type(error).__name__}: {error}"))
        raise BackendError(f"{places}: the files cannot be shown ({reason}); train again") from error
    return text


def _curve(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (step or epoch, value) for every row that has ``key``."""
    values = [row for row in rows if key in row]
    return [(i if key == "loss" else row["epoch"] + 1, row[key]) for i, row in enumerate(values)]


def chart(series: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
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
