"""The plot of ``vgg bench``: each contender's share of the machine's ceiling.

``python tools/plot.py JSON SVG`` writes it to the file SVG, from the result of a bench in the file JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vgg.core.files import write_atomically
from vgg.report import template
from vgg.timing import results
from vgg.timing.results import PHASES
from vgg.timing.workloads import KINDS

COLOURS = dict(zip(KINDS, ("#c8401f", "#2660a4", "#9aa5b1"), strict=True))
LEFT, WIDTH, ROW, GAP = 110, 420, 14, 12
"""In pixels: the left end of the bars, the length of the ceiling, the height of a bar, and the gap between groups."""


def svg(result: Mapping[str, Any]) -> str:
    """Return the text of an SVG file.

    There are groups of bars for each workload and phase, one group per backend with one bar per contender.
    """
    y, marks = GAP, []
    for kind, text, share in _bars(result):
        marks.append({"y": y, "text": text, "kind": kind, "width": round(share * WIDTH, 1), "share": f"{share:.2f}"})
        y += ROW if kind else ROW + GAP
    places = {"left": LEFT, "ceiling": LEFT + WIDTH, "row": ROW, "height": y + 2 * ROW}
    return template("bars.svg.jinja", Path(__file__).parent).render(marks=marks, colours=COLOURS, **places) + "\n"


def _bars(result: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield (kind, label, share of the ceiling) from top to bottom. The kind of a heading is empty."""
    for name, workload in result["workloads"].items():
        for phase in PHASES if results.computes(workload) else ():
            yield "", f"{name}, {PHASES[phase]}, batch {workload['batch']}", 0.0
            for backend, column in workload["backends"].items():
                kinds = [kind for kind in KINDS if results.right(column["contenders"].get(kind, {}), phase)]
                for kind in kinds:
                    share = results.share(workload, column, kind, phase).value
                    yield kind, backend if kind == kinds[0] else "", share


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    write_atomically(target, svg(json.loads(source.read_text())).encode())
