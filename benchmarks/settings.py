"""Measures the effect of each variable that vgg sets in a framework's environment.

A training step without the variable is compared with one that has all of them. The JSON file holds a table for
``python tools/tables.py``.

python benchmarks/settings.py benchmarks/results/settings-cpu.json
"""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from vgg.core import files
from vgg.core.errors import VGGError
from vgg.process import registry
from vgg.timing import results, run, workloads
from vgg.timing.conditions import Conditions
from vgg.timing.contest import Terms, entered

ROUNDS = 5
CONDITIONS = Conditions(rounds=ROUNDS)
ALL = "all set"


def timed(entry: registry.Entry, terms: Terms) -> dict[str, list[float]]:
    """Return the seconds of warm training steps by the name of the missing variable. The runs are interleaved.

    Raises ``VGGError`` when a result is wrong without a variable.
    """
    entries = {ALL: entry}
    entries |= {name: replace(entry, variables=_without(entry.variables, name)) for name in entry.variables}
    with ExitStack() as stack:
        entrants = {name: stack.enter_context(entered(one, "vgg", terms, CONDITIONS)) for name, one in entries.items()}
        if wrong := [name for name, entrant in entrants.items() if not entrant.found["parity"]["ok"]]:
            raise VGGError(f"{entry.name}: computes something else without {', '.join(wrong)}; nothing is timed")
        for _ in range(ROUNDS):
            for entrant in entrants.values():
                entrant.round()
    return {name: entrant.found["train"] for name, entrant in entrants.items()}


def _without(variables: Any, name: str) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key != name}


def rows(backend: str, seconds: dict[str, list[float]]) -> list[list[str]]:
    """Return the rows of the table.

    A row is: backend, variable, seconds with all variables, and the ratio of the seconds without it to these.
    """
    whole = seconds[ALL]
    ratios = {name: [one / other for one, other in zip(times, whole, strict=True)] for name, times in seconds.items()}
    median = f"{statistics.median(whole):.2f} s"
    return [[backend, f"`{name}`", median, str(results.measured(r))] for name, r in ratios.items() if name != ALL]


def main(place: Path) -> None:
    """Time training steps of the narrow VGG-11 in the four backends, and write the result to the file ``place``."""
    workload = replace(workloads.find("vgg11_narrow"), phases=("train",))
    columns = ["framework", "without", "step with all", "x as long"]
    result: dict[str, Any] = {**CONDITIONS.about(), "seconds": {}, "columns": columns, "rows": []}
    with run.agreed(workload, workload.batches["cpu"][0], CONDITIONS) as terms:
        for entry in (registry.find(name) for name in registry.own_names()):
            if entry.variables:
                result["seconds"][entry.name] = timed(entry, terms)
                result["rows"] += rows(entry.name, result["seconds"][entry.name])
    files.write_atomically(place, json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
