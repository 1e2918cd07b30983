"""The section on mutants of the kill matrix, from the JSON of ``tests/mutants.py`` and the file of reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mutating import ROOT, SURVIVED, Reason, reasons

PUBLISHED = ROOT / "benchmarks" / "results" / "mutants.json"
HEADING = "## Mutants"
_TEXT = """A saboteur is a fault that somebody thought of; a mutant is one that a tool makes, by one change in one
line. The suite judges each mutant cell by cell, the cheapest first, until a cell kills it. A kill by an
exception is one that any test which runs the line would make, so these are counted apart. Of the mutants
that live, some are equivalent: they compute the same. What others do, the contract of a backend allows, and
some are unreached: they differ only where the suite does not run. Annotations, aliases of types,
docstrings, decorators and the words of a `raise` are not mutated; of torch, neither is what needs a GPU or
replicas, nor what is not called by `build`, `load`, `dump` or the learner. The score is the share of kills
among the mutants that are not equivalent."""


def section(result: Mapping[str, Any], why: Mapping[str, Reason]) -> str:
    """Markdown: the count, the checks that killed, and every mutant that lives, with its reason."""
    columns = ["", *result]
    counts = [list(row) for row in zip(*(_counts(run, why).items() for run in result.values()), strict=True)]
    rows = [[cells[0][0], *(str(value) for _, value in cells)] for cells in counts]
    parts = [HEADING, _TEXT.replace("\n", " "), _table(columns, rows), _first_kills(result), _living(result, why)]
    return "\n\n".join([*parts, _made(result)]) + "\n"


def published(path: Path = PUBLISHED) -> str:
    """The section of the committed JSON."""
    return section(json.loads(path.read_text()), reasons())


def _counts(run: Mapping[str, Any], why: Mapping[str, Reason]) -> dict[str, str]:
    """What is counted, in words, and how many of each."""
    hows = Counter(outcome.partition(" ")[0] for outcome in run["mutants"].values())
    kinds = Counter(why[key].kind if key in why else SURVIVED for key, was in run["mutants"].items() if was == SURVIVED)
    total = len(run["mutants"])
    killed = total - hows[SURVIVED]
    return {
        "mutants": str(total),
        "killed": str(killed),
        "... by an exception": str(hows["exception"]),
        "... by taking for ever, or by dying": str(hows["time"] + hows["death"]),
        "equivalent": str(kinds["equivalent"]),
        "allowed": str(kinds["allowed"]),
        "unreached": str(kinds["unreached"]),
        "survived without a reason": str(kinds[SURVIVED]),
        "score": f"{killed / (total - kinds['equivalent']):.1%}",
    }


def _first_kills(result: Mapping[str, Any]) -> str:
    """How many mutants each check was the first to kill."""
    kills = {
        name: Counter(outcome.split()[1] for outcome in run["mutants"].values() if outcome != SURVIVED)
        for name, run in result.items()
    }
    checks = dict.fromkeys(
        check for run in result.values() for check in ("import", *(n.split()[0] for n in run["cells"]))
    )
    rows = [[check, *(str(kills[name][check] or ".") for name in result)] for check in checks]
    return _table(["killed first by", *result], [row for row in rows if set(row[1:]) != {"."}])


def _living(result: Mapping[str, Any], why: Mapping[str, Reason]) -> str:
    """Every mutant that lives, by its reason."""
    none = Reason(SURVIVED, "without a reason")
    living = [key for run in result.values() for key, outcome in run["mutants"].items() if outcome == SURVIVED]
    by_reason = {reason: [key for key in living if why.get(key, none) == reason] for reason in (none, *why.values())}
    groups = [f"- {kind}: {text}\n{_listed(keys)}" for (kind, text), keys in by_reason.items() if keys]
    return "\n".join(["Those that live:\n", *groups])


def _listed(keys: Iterable[str]) -> str:
    return "\n".join(f"  - {_coded(key)}" for key in keys)


def _coded(key: str) -> str:
    """``file function: before => after`` with its code as code."""
    place, _, change = key.partition(": ")
    before, _, after = change.partition(" => ")
    file, _, function = place.partition(" ")
    return f"{Path(file).name}, {function}: `` {before} `` becomes `` {after} ``"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def _made(result: Mapping[str, Any]) -> str:
    runs = [
        f"{name}: {run['tool']}, {len(run['cells'])} cells, {run['date'][:10]}, commit {run['commit']}"
        for name, run in result.items()
    ]
    return f"Made by `python tests/mutants.py`. {'; '.join(runs)}."
