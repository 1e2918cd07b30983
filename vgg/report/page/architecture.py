"""The drawing of the network: one stack of slats per layer, a slat per feature map, every area true to its size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ...core.layers import Layer, Totals
from ...core.spec import Spec
from .palette import error, shape, short

AREA = 14_000.0
"""The drawn area of the largest activation, in units of which the page has about a thousand across."""
GAP = 4.0
"""The drawn gap between two activations of a part."""
APART, NAME = 14.0, 88.0
"""The gap between two parts, and the room for a part's name and shape."""
TALLEST = 190.0
"""The drawn height of the largest map."""
FINEST = 1.1
"""Slats thinner than this are drawn as one tone."""
CUT = 0.25
"""The share of a slat that the gap to the next one takes: the same for all, so that equal areas have equal tones."""
SAME = ("relu", "batch_norm", "lrn", "dropout", "flatten")
"""Kinds of layers that have their input's shape, and are not drawn apart from it."""
FLOAT32 = 4


@dataclass(frozen=True)
class Plate:
    """One drawn activation: its ``width`` and ``height`` in units, its number of ``slats``, and its kind."""

    width: float
    height: float
    slats: int
    kind: str
    label: str


@dataclass(frozen=True)
class Part:
    """A block or the head: what is drawn of it, and what is said about it."""

    name: str
    caption: str
    layers: Sequence[Layer]
    params: int
    macs: int
    activations: int
    shares: Mapping[str, float]
    plates: Sequence[Plate] = field(default_factory=tuple)

    @property
    def memory(self) -> int:
        """The bytes of its activations per image, in float32."""
        return self.activations * FLOAT32

    @property
    def extent(self) -> tuple[float, float]:
        """The width and the height of the drawing, in units."""
        return sum(max(plate.width, 2) + GAP for plate in self.plates) - GAP, max(p.height for p in self.plates)

    @property
    def room(self) -> float:
        """The width that it takes with its name, in units."""
        return max(self.extent[0], NAME)

    @property
    def svg(self) -> Markup:
        """The plates side by side, standing on one line."""
        return _svg(self.plates, *self.extent)

    def worst(self, column: Mapping[str, Any]) -> str:
        """Return the worst error of a backend in this part, with the name of its layer, or a dash."""
        errors = column.get("layer_errors") or {}
        own = {row.name: errors[row.name] for row in self.layers if row.name in errors}
        if not own:
            return "\N{EN DASH}"
        name = max(own, key=lambda one: math.inf if own[one] is None else own[one])
        return f"{error(own[name])} in {name}"


def parts(table: Sequence[Layer], totals: Totals) -> list[Part]:
    """Return the blocks of the network and its head, in order."""
    largest = max(math.prod(row.output_shape) for row in table)
    tallest = max(row.output_shape[1] for row in table if len(row.output_shape) > 1)
    groups = [(name, [row for row in table if _part(row) == name]) for name in dict.fromkeys(map(_part, table))]
    return [_of(name, rows, totals, AREA / largest, TALLEST / tallest) for name, rows in groups]


def _part(row: Layer) -> str:
    name = row.name.partition(".")[0]
    return name if name.startswith("block") else "head"


def _of(name: str, rows: Sequence[Layer], totals: Totals, area: float, scale: float) -> Part:
    sizes = [math.prod(row.output_shape) for row in rows]
    params, macs = sum(row.params for row in rows), sum(row.macs for row in rows)
    whole = {"activations": totals.activations, "parameters": totals.params, "MACs": totals.macs}
    counts = {"activations": sum(sizes), "parameters": params, "MACs": macs}
    shares = {what: count / max(whole[what], 1) for what, count in counts.items()}
    caption = _caption(rows)
    return Part(name, caption, rows, params, macs, sum(sizes), shares, list(_plates(rows, area, scale)))


def _caption(rows: Sequence[Layer]) -> str:
    first = next((row for row in rows if row.kind not in SAME), rows[0])
    if len(first.output_shape) == 3:
        return shape(first.output_shape)
    return " \N{RIGHTWARDS ARROW} ".join(str(row.output_shape[0]) for row in rows if row.kind == "dense")


def _plates(rows: Sequence[Layer], area: float, scale: float) -> Iterator[Plate]:
    for row in rows:
        if row.kind in SAME:
            continue
        size, label = math.prod(row.output_shape) * area, f"{row.name} {shape(row.output_shape)}"
        if len(row.output_shape) == 3:
            height = row.output_shape[1] * scale
            yield Plate(size / height, height, row.output_shape[0], row.kind, label)
        else:
            side = math.sqrt(size)
            yield Plate(side, side, 1, row.kind, label)


def _svg(plates: Sequence[Plate], width: float, height: float) -> Markup:
    """Return the drawing of one part; its height is that of its own tallest plate."""
    drawn, x = [], 0.0
    for plate in plates:
        drawn.append(_drawn(plate, x, height - plate.height))
        x += max(plate.width, 2) + GAP
    size = f'style="--w:{width:.1f};--h:{height:.1f}" viewBox="0 0 {width:.1f} {height:.1f}"'
    words = f'<svg class="plates" {size} preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f"{words}{''.join(drawn)}</svg>")  # noqa: S704 - numbers


def _drawn(plate: Plate, x: float, y: float) -> str:
    """Return a plate: slats with gaps, or where they are too fine, one area in the tone that they would have."""
    kind, slat = "pool" if "pool" in plate.kind else plate.kind, plate.width / plate.slats
    if slat >= FINEST and plate.slats > 1:
        each = f"h{slat * (1 - CUT):.2f}v{plate.height:.1f}h-{slat * (1 - CUT):.2f}zm{slat:.3f} 0"
        return f'<path class="{kind}" d="M{x:.1f} {y:.1f}{each * plate.slats}"/>'
    tone = f' fill-opacity="{1 - CUT}"' if plate.slats > 1 else ""
    return f'<rect class="{kind}"{tone} x="{x:.1f}" y="{y:.1f}" width="{plate.width:.2f}" height="{plate.height:.1f}"/>'


def units(parts: Sequence[Part]) -> int:
    """Return the units that the parts take side by side, with room between them and for short names."""
    return round(sum(part.room for part in parts) + APART * (len(parts) - 1)) + 1


def summary(spec: Spec, totals: Totals) -> str:
    """Return the network in one sentence."""
    last = spec.feature_shape
    return (
        f"From {shape(spec.input_shape)} pixels to maps of {shape(last)} and {spec.classes} logits, with "
        f"{short(totals.params)} parameters, {short(totals.macs)} multiply-accumulates and "
        f"{short(totals.activations * FLOAT32)}B of activations per image."
    )
