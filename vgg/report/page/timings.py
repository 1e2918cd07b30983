"""The results of ``vgg bench`` as figures: speed, share of the matrix product rate, ratios to the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from ...timing import results
from ...timing.results import PHASES, Measured
from .. import timings
from .intervals import Panel, Point, drawn
from .palette import marks


class Drawing(NamedTuple):
    """A workload in a phase: its title and its figures."""

    title: str
    figures: list[Markup]


def drawings(result: Mapping[str, Any]) -> list[Drawing]:
    """Return a figure for every workload and phase of a result of ``vgg bench``."""
    return [one for name, workload in result["workloads"].items() for one in _drawings(name, workload)]


def tables(result: Mapping[str, Any]) -> list[timings.Table]:
    """Return the tables that the command prints."""
    return timings.tables(result)


def _drawings(name: str, workload: Mapping[str, Any]) -> Iterator[Drawing]:
    for phase, word in PHASES.items():
        columns = {b: c for b, c in workload["backends"].items() if results.right(c["contenders"]["vgg"], phase)}
        title = f"{name}, batch {workload['batch']}: {word}"
        figures = drawn(_panels(workload, columns, phase), marks(workload["backends"]), title)
        if figures:
            yield Drawing(title, figures)


def _panels(workload: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]], phase: str) -> list[Panel]:
    speed = {b: _point(results.images_per_second(workload, c["contenders"]["vgg"], phase)) for b, c in columns.items()}
    shares = {b: _point(results.share(workload, c, "vgg", phase)) for b, c in columns.items()}
    panels = [Panel("images/s", speed)]
    if results.computes(workload):
        panels.append(Panel("share of product rate", shares))
    for kind in ("textbook", "zoo"):
        ratios = {b: results.ratio(c, kind, phase) for b, c in columns.items()}
        panels.append(Panel(f"times {kind}", {b: _point(ratio) for b, ratio in ratios.items() if ratio}))
    return panels


def _point(measured: Measured) -> Point:
    return Point(measured.value, measured.value * (1 - measured.spread), measured.value * (1 + measured.spread))
