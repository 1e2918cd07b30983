"""Saboteurs against checks: how many cells of each check catch each fault.

``python tests/kill_matrix.py docs/kill-matrix.md`` writes the whole matrix; with ``--new`` only a second one, of the
saboteurs that the first does not have; with ``--mutants`` only the section on mutants below both, from the committed
run of ``tests/mutants.py``. All of them write ``vgg/conformance/kills.json`` too, which pages show.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import mutants_table
from sabotage import SABOTEURS, Bench, Saboteur

from vgg.conformance import life_shrinking
from vgg.conformance.cell import Bench as SuiteBench
from vgg.conformance.cell import Judge
from vgg.conformance.declared import FACTS, Fact, measured
from vgg.conformance.suite import cells as all_cells
from vgg.conformance.suite import judged
from vgg.core.comparator import Verdict
from vgg.core.files import write_atomically
from vgg.process import registry
from vgg.process.client import Jobs
from vgg.process.provenance import provenance

for faults in sorted(Path(__file__).parent.glob("faults_of_*.py")):
    importlib.import_module(faults.stem)  # it enlists its saboteurs


SINCE = "## Since then"
KILLS = Path(life_shrinking.__file__).with_name("kills.json")


def cells() -> dict[str, Judge]:
    """The suite's and its facts, but of those that take something from another backend only one: here all others are
    the oracle.
    """
    _, *others = registry.own_names()
    again = {name for name in all_cells() if name.split()[0] in ("exchange", "relay") and name.split()[1] in others}
    facts = {f"declared {name}": partial(_fact, fact) for name, fact in FACTS.items()}
    return {**{name: cell for name, cell in all_cells().items() if name not in again}, **facts}


def _fact(fact: Callable[[Jobs], Fact], bench: SuiteBench) -> Verdict:
    return measured(fact, bench.worker).verdict()


def checks() -> set[str]:
    """The first word of every cell."""
    return {name.split()[0] for name in cells()}


@contextmanager
def asking() -> Iterator[None]:
    """Ask whether a life fails, not which is the shortest; and a fault may well divide by zero."""
    tries = life_shrinking.TRIES
    life_shrinking.TRIES = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        life_shrinking.TRIES = tries


def killed(saboteur: Saboteur, check: str, *, enough: int | None = None) -> int:
    """How many cells of ``check`` catch ``saboteur``; counting stops at ``enough``."""
    bench, count = Bench(saboteur.sabotage), 0
    with asking():
        for name, cell in cells().items():
            count += name.split()[0] == check and not judged(cell, bench).ok
            if enough and count >= enough:
                break
    return count


def heads() -> list[str]:
    """The matrix's first line: each check and how many cells it has."""
    words = [name.split()[0] for name in cells()]
    return ["saboteur", *(f"{check} ({words.count(check)})" for check in dict.fromkeys(words))]


def table(names: Iterable[str]) -> str:
    """Markdown: one row per saboteur, one column per check, a dot where it goes unseen."""
    head = heads()
    with ProcessPoolExecutor() as pool:
        lines = [head, ["---"] * len(head), *pool.map(_row, names)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(name: str) -> list[str]:
    saboteur, bench, counts = SABOTEURS[name], Bench(SABOTEURS[name].sabotage), Counter[str]()
    with asking():
        for cell, judge in cells().items():
            counts[cell.split()[0]] += not judged(judge, bench).ok
    return [name, *(f"**{n}**" if check == saboteur.check else str(n or ".") for check, n in counts.items())]


def main(document: Path) -> None:
    """Write the whole matrix, and what it was made from."""
    text = "How many cells of each check catch each saboteur; in bold, the check meant for it."
    _write(document, f"# Kill matrix\n\n{text} {_made(SABOTEURS)}")


def more(document: Path) -> None:
    """Write a second matrix below the first, of the saboteurs that are not in it."""
    first = matrix(document).partition(SINCE)[0]
    new = [name for name in SABOTEURS if f"\n| {name} |" not in first]
    _write(document, f"{first}{SINCE}\n\nSaboteurs that are newer than the run above. {_made(new, ' --new')}")


def _made(names: Collection[str], option: str = "") -> str:
    """A matrix of these saboteurs, and how it was made."""
    told, counts = provenance(), f"{len(names)} saboteurs, {len(checks())} checks, {len(cells())} cells"
    command = f"`OPENBLAS_NUM_THREADS=1 python tests/kill_matrix.py docs/kill-matrix.md{option}`"
    return f"{counts}. Made by {command}, {told['date'][:10]}, commit {told['commit']}.\n\n{table(names)}\n\n"


def matrix(document: Path) -> str:
    """The document as it stands, without the section on mutants."""
    return document.read_text().partition(mutants_table.HEADING)[0]


def kills(text: str) -> dict[str, list[str]]:
    """For each saboteur in the document's matrices the checks that catch it, the one meant for it first."""
    found, head = dict[str, list[str]](), list[str]()
    for line in text.splitlines():
        name, *cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if name == "saboteur":
            head = [cell.partition(" ")[0] for cell in cells]
        elif head and len(cells) == len(head) and not name.startswith("-"):
            caught = [(check, cell) for check, cell in zip(head, cells, strict=True) if cell != "."]
            found[name] = [check for check, cell in sorted(caught, key=lambda one: "*" not in one[1])]
    return found


def _write(document: Path, saboteurs: str) -> None:
    write_atomically(document, f"{saboteurs.rstrip()}\n\n{mutants_table.published()}".encode())
    lines = (f"{json.dumps(name)}: {json.dumps(checks)}" for name, checks in kills(matrix(document)).items())
    write_atomically(KILLS, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    if "--mutants" in sys.argv:
        _write(path, matrix(path))
    elif "--new" in sys.argv:
        more(path)
    else:
        main(path)
