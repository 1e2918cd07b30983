"""The parts of a page about a comparison, or about runs without a proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...conformance.proof import UNPROVEN
from ...core import layers
from ...core.spec import Spec
from ..evaluations import classes
from ..rows import pair_rows, texts
from . import architecture, confusion, curves, errors, files, intervals, pictures, repeating, sources, verdicts
from .files import Files
from .intervals import Panel, Point
from .origin import origin
from .palette import finite, marks, short

JUDGED = "the same network"
"""The row that says whether a backend was proven."""
Columns = Mapping[str, Mapping[str, Any]]


def parts(result: Mapping[str, Any], runs: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the templates show of ``compare.json``, or of what is alike, and of its run directories.

    Raises ``VGGError``, which names the file and the field, when one of these is not as vgg wrote it.
    """
    spec, columns = Spec.from_dict(result["spec"]), {n: c for n, c in result["backends"].items() if "facts" in c}
    read = {name: files.read(result["backends"][name], run) for name, run in runs.items()}
    return {
        "result": result,
        "columns": columns,
        "failures": verdicts.failures(result),
        "marks": marks(result["backends"]),
        "title": _title(spec, result),
        "verdict": verdicts.verdict(result, columns),
        "fastest": verdicts.fastest(result, columns),
        "absent": [name for name, ones in read.items() if _absent(result["backends"][name], ones)],
        "origins": [f"{one['place']}: {origin(one)}" for one in result.get("sources", ())] or [origin(result)],
        "rows": _rows(result),
        "pairs": pair_rows(result),
        **_network(spec, columns, marks(result["backends"])),
        **_training(result, read),
        **_classes(result, spec, read),
        **_speed(result, columns, read),
        **_repeating(result, spec, columns),
    }


def _absent(column: Mapping[str, Any], read: Sequence[Files]) -> bool:
    """Return whether a directory of a column's runs is missing."""
    return len(read) < len(column.get("runs", ())) or not read[0].path.is_dir()


def _rows(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the rows of the table of results; a column of ``vgg train`` beside others was not judged."""
    columns = result["backends"]
    unjudged = [i for i, column in enumerate(columns.values()) if "facts" in column and "ok" not in column]
    if "ok" not in result or not unjudged:
        return texts(result)
    filled = {name: {**UNPROVEN, "ok": False, "reason": "", **column} for name, column in columns.items()}
    rows = texts({**result, "backends": filled})
    rows[JUDGED] = ["not judged" if i in unjudged else text for i, text in enumerate(rows[JUDGED])]
    return rows


def _title(spec: Spec, result: Mapping[str, Any]) -> str:
    columns = result["backends"]
    frameworks = {str(column.get("backend", name)) for name, column in columns.items()}
    if len(columns) == 1:
        return f"{spec.name} in {next(iter(columns))}"
    return f"{spec.name} in {len(columns)} {'frameworks' if len(frameworks) == len(columns) else 'runs'}"


def _network(spec: Spec, columns: Columns, marked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drawing and the layer table, at the input at which the structure was compared."""
    inputs = {tuple(c["structure_at"]) for c in columns.values() if c.get("structure_at")}
    seen = spec.modified(input_shape=inputs.pop()) if len(inputs) == 1 else spec
    table = layers.expand(seen)
    totals = layers.totals(table)
    blocks = architecture.parts(table, totals)
    return {
        "summary": architecture.summary(seen, totals),
        "blocks": blocks,
        "units": architecture.units(blocks),
        "layers": errors.rows(table, columns, marked),
        "judged": errors.judged(columns),
        "scale": errors.scale(),
        "symbols": errors.SYMBOLS,
        "sources": sources.models(columns),
        "short": short,
    }


def _training(result: Mapping[str, Any], read: Mapping[str, Sequence[Files]]) -> dict[str, Any]:
    histories = {name: [one.rows for one in each] for name, each in read.items()}
    marked = marks(result["backends"])
    return {
        "loss": curves.loss(histories, marked),
        "accuracy": curves.accuracy(histories, marked),
        "several": max((len(each) for each in read.values()), default=0),
    }


def _classes(result: Mapping[str, Any], spec: Spec, read: Mapping[str, Sequence[Files]]) -> dict[str, Any]:
    each = {name: [one.evaluation for one in ones if one.evaluation] for name, ones in read.items()}
    first = {name: some[0] for name, some in each.items() if some}
    tests = pictures.test_set(result["recipe"], {n: f[0].path for n, f in read.items()}) if first else None
    mistakes = {name: pictures.mistakes(one, tests) if tests else None for name, one in first.items()}
    return {
        "evaluations": first,
        "classes": classes(first),
        "heats": {name: heat for name, some in each.items() if (heat := confusion.heat(some))},
        "mistakes": mistakes,
        "filters": _filters(result, spec, {name: ones[0].path for name, ones in read.items()}),
    }


def _filters(result: Mapping[str, Any], spec: Spec, runs: Mapping[str, Path]) -> dict[str, str]:
    """Return the first convolution's filters as images: before training, and after it in each backend."""
    trained = {name: pictures.trained_filters(run, spec) for name, run in runs.items()}
    weights = {"before": pictures.initial_filters(spec, result["recipe"]), **trained}
    shown = {name: weight for name, weight in weights.items() if weight is not None}
    largest = max((float(abs(weight).max()) for weight in shown.values()), default=1.0)
    return (
        {name: pictures.filters(weight, largest) for name, weight in shown.items()}
        if shown.keys() != {"before"}
        else {}
    )


def _speed(result: Mapping[str, Any], columns: Columns, read: Mapping[str, Sequence[Files]]) -> dict[str, Any]:
    """Return the figure of accuracy, speed, compile time and memory, each with its interval."""
    batch = result["recipe"].get("batch_size")
    rates = {name: _rate(name, column, read, batch) for name, column in columns.items()}
    accuracies = {name: p for name, c in columns.items() if (p := _mean(c, "test_accuracy"))}
    panels = [
        Panel("test accuracy", accuracies, from_zero=False),
        Panel("images/s", rates),
        Panel("compile time, s", _points(columns, "compile_seconds", 1)),
        Panel("peak memory, GB", _points(columns, "peak_bytes", 1e9)),
    ]
    return {"speed": intervals.drawn(panels, marks(columns), "Speed and memory")}


def _mean(column: Mapping[str, Any], quantity: str) -> Point | None:
    return intervals.mean(column.get("statistics", {}).get(quantity))


def _rate(name: str, column: Mapping[str, Any], read: Mapping[str, Sequence[Files]], batch: Any) -> Point:
    over_seeds = _mean(column, "images_per_second")
    rows = read[name][0].rows if read.get(name) else []
    return over_seeds or intervals.of_steps(rows, batch, float(column["images_per_second"]))


def _points(columns: Columns, field: str, unit: float) -> dict[str, Point]:
    """Return a quantity of every column: the median over its runs with their range, or the one value."""
    points = {}
    for name, column in columns.items():
        runs = [run.get(field) for run in column.get("runs", {}).values()] or [column.get(field)]
        values = [value / unit for value in runs if finite(value)]
        point = intervals.spread(values)
        if point:
            points[name] = point if len(values) > 1 else Point(point.value)
    return points


def _repeating(result: Mapping[str, Any], spec: Spec, columns: Columns) -> dict[str, Any]:
    return {
        "commands": repeating.commands(result, spec),
        "recipe": repeating.recipe_rows(result["recipe"], spec),
        "locks": {name: repeating.lock(name, column) for name, column in columns.items()},
        "downloads": [_results(result), repeating.download("spec.json", spec.to_dict())],
    }


def _results(result: Mapping[str, Any]) -> repeating.Download:
    """Return the results as the file in which vgg keeps them; ``runs.json`` has several runs of ``vgg train``."""
    if "ok" in result:
        return repeating.download("compare.json", result)
    if "summary" in result:
        return repeating.download("run.json", {name: part for name, part in result.items() if name != "backends"})
    return repeating.download("runs.json", result)
