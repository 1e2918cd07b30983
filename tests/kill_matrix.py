"""Saboteurs against checks: how many cells of each check catch each fault.

``python tests/kill_matrix.py docs/kill-matrix.md`` writes the whole matrix.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faults_of_layers
import faults_of_training
from sabotage import SABOTEURS, Bench, Saboteur

from vgg import registry
from vgg.client import Jobs
from vgg.compare import Verdict
from vgg.conformance.declared import FACTS, Fact, measured
from vgg.conformance.suite import Bench as SuiteBench
from vgg.conformance.suite import Judge, judged
from vgg.conformance.suite import cells as all_cells
from vgg.params import write_atomically

__all__ = ["faults_of_layers", "faults_of_training"]  # importing them enlists their saboteurs


def cells() -> dict[str, Judge]:
    """The suite's and its facts, but of those that take something from another backend only one: here all others are
    the oracle.
    """
    _, *others = registry.own_names()
    again = {f"{check} {name}" for check in ("exchange", "relay") for name in others}
    facts = {f"declared {name}": partial(_fact, fact) for name, fact in FACTS.items()}
    return {name: cell for name, cell in all_cells().items() if name not in again} | facts


def _fact(fact: Callable[[Jobs], Fact], bench: SuiteBench) -> Verdict:
    return measured(fact, bench.worker).verdict()


def checks() -> set[str]:
    """The first word of every cell."""
    return {name.split()[0] for name in cells()}


def killed(saboteur: Saboteur, check: str, *, enough: int | None = None) -> int:
    """How many cells of ``check`` catch ``saboteur``; counting stops at ``enough``."""
    bench, count = Bench(saboteur.sabotage), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fault may well divide by zero
        for name, cell in cells().items():
            count += name.split()[0] == check and not judged(cell, bench).ok
            if enough and count >= enough:
                break
    return count


def table() -> str:
    """Markdown: a row a saboteur, a column a check, a dot where it goes unseen."""
    columns = sorted(checks(), key=[name.split()[0] for name in cells()].index)
    sizes = [sum(name.split()[0] == check for name in cells()) for check in columns]
    head = ["saboteur", *(f"{check} ({size})" for check, size in zip(columns, sizes, strict=True))]
    lines = [head, ["---"] * len(head)]
    for saboteur in SABOTEURS.values():
        counts = [killed(saboteur, check) for check in columns]
        cells_ = [
            f"**{n}**" if check == saboteur.check else str(n or ".") for n, check in zip(counts, columns, strict=True)
        ]
        lines.append([saboteur.name, *cells_])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    head = "# Kill matrix\n\nHow many cells of each check catch each saboteur; in bold, the check meant for it. "
    made = "Made by `python tests/kill_matrix.py docs/kill-matrix.md`.\n\n"
    write_atomically(Path(sys.argv[1]), (head + made + table() + "\n").encode())
