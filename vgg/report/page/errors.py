"""The layer table with the shapes that backends gave, and each layer's errors as a strip on a log scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from ...core.layers import Layer
from .palette import Mark, error, finite, shape

LOW, HIGH = -17, -11
"""The ends of the scale, as powers of ten. The limit in float64 is 1e-12; an error of 0 is drawn at the lower end."""
WIDTH, HEIGHT = 210, 18
SYMBOLS = {
    "circle": '<circle r="3.6"/>',
    "square": '<rect x="-3.2" y="-3.2" width="6.4" height="6.4"/>',
    "triangle": '<path d="M0-4.2 4 3.2H-4z"/>',
    "diamond": '<path d="M0-4.6 4.6 0 0 4.6-4.6 0z"/>',
    "down": '<path d="M0 4.2 4-3.2H-4z"/>',
    "cross": '<path d="M-1-4h2v3h3v2h-3v3h-2v-3h-3v-2h3z"/>',
}
"""The markers of backends, as in the figures."""


class Row(NamedTuple):
    """One row of the layer table: what the spec says, what each backend gave, the strip of errors and the largest."""

    layer: Layer
    shape: str
    shapes: Mapping[str, str]
    wrong: frozenset[str]
    strip: Markup | None
    worst: str


def rows(table: Sequence[Layer], columns: Mapping[str, Mapping[str, Any]], marks: Mapping[str, Mark]) -> list[Row]:
    """Return the rows of the layer table. ``columns`` are those of ``compare.json``, without the ones that failed.

    ``table`` is at the input at which the structure was compared.
    """
    return [_row(layer, columns, marks) for layer in table]


def judged(columns: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether any column has the errors of its layers: results of earlier versions lack them."""
    return any(column.get("layer_errors") for column in columns.values())


def worst(columns: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, float | None, float] | None:
    """Return (backend, layer or parameter, error, limit) of the largest error of all, or None without errors."""
    each = [
        (name, what, value, column.get(f"{kind}_limit") or 1e-12)
        for name, column in columns.items()
        for kind in ("layer", "parameter")
        for what, value in (column.get(f"{kind}_errors") or {}).items()
    ]
    return max(each, key=lambda one: math.inf if one[2] is None else one[2], default=None)


def _row(layer: Layer, columns: Mapping[str, Mapping[str, Any]], marks: Mapping[str, Mark]) -> Row:
    shapes = {name: (column.get("shapes") or {}).get(layer.name) for name, column in columns.items()}
    texts = {name: shape(extents) if extents else "\N{EN DASH}" for name, extents in shapes.items()}
    wrong = {name for name, extents in shapes.items() if extents is not None and tuple(extents) != layer.output_shape}
    errors = {name: (c.get("layer_errors") or {}).get(layer.name, math.nan) for name, c in columns.items()}
    limits = [c["layer_limit"] for c in columns.values() if finite(c.get("layer_limit"))]
    strip = _strip(errors, min(limits, default=1e-12), marks)
    return Row(layer, shape(layer.output_shape), texts, frozenset(wrong), strip, _worst(errors.values()))


def _worst(errors: Iterable[float | None]) -> str:
    """Return the largest error, by which the table is sorted, as the page's script reads it."""
    known = [math.inf if value is None else value for value in errors if value is None or finite(value)]
    return f"{max(known):g}" if known else ""


def _strip(errors: Mapping[str, float | None], limit: float, marks: Mapping[str, Mark]) -> Markup | None:
    shown = {name: value for name, value in errors.items() if value is None or finite(value)}
    if not shown:
        return None
    words = ", ".join(f"{name} {error(value)}" for name, value in shown.items())
    dots = "".join(
        f'<use href="#m-{one.shape}" x="{place(value)}" y="{_row_of(one)}" class="f{one.number}"/>'
        for one, value in ((marks[name], value) for name, value in shown.items())
    )
    lines = (
        f'<path class="axis" d="M0 {HEIGHT / 2:g}H{WIDTH}"/><path class="limit" d="M{place(limit)} 1v{HEIGHT - 2}"/>'
    )
    box = f'viewBox="-6 0 {WIDTH + 12} {HEIGHT}"'
    label = Markup("<title>{}</title>").format(f"{words}; limit {error(limit)}")
    return Markup(f'<svg class="strip" role="img" {box}>{label}{lines}{dots}</svg>')  # noqa: S704 - escaped above


def _row_of(mark: Mark) -> float:
    """Return the height of a mark in its strip: a little apart, so that none hides another."""
    return HEIGHT / 2 + (mark.number % 4 - 1.5) * 2


def place(value: float | None) -> str:
    """Return where a value is on the scale; None, which is over every limit, is at its upper end."""
    exponent = HIGH if value is None else math.log10(value) if value > 0 else LOW
    return f"{(min(max(exponent, LOW), HIGH) - LOW) / (HIGH - LOW) * WIDTH:.1f}"


def scale() -> list[tuple[str, int]]:
    """Return (position in percent, power of ten) of the ticks of the scale."""
    return [(f"{(power - LOW) / (HIGH - LOW) * 100:.1f}", power) for power in range(LOW + 1, HIGH, 2)]
