"""Makes tables in documents from the JSON of real runs.

The JSON comes from ``vgg compare``, ``vgg check --json``, ``vgg bench``, and the scripts in ``benchmarks/``, whose JSON
holds ``columns`` and ``rows``. ``python tools/tables.py JSON DOCUMENT`` writes the table between the two comment lines
that name the JSON file. If they say ``JSON in brief``, it writes only the first table of a bench. If they say
``JSON pairs``, it writes what the seeds of a comparison say of each pair of backends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vgg.conformance.tally import cell_text
from vgg.core.errors import VGGError
from vgg.core.files import write_atomically
from vgg.report import timings
from vgg.report.rows import pair_rows, texts
from vgg.timing.results import contenders


def table(result: Mapping[str, Any]) -> str:
    """Return a Markdown table, one column per backend, and a line about the machine; for a bench, several tables."""
    if "workloads" in result:
        return _bench(result, timings.tables(result))
    if "rows" in result:
        lines = _lines([result["columns"], ["---"] * len(result["columns"]), *result["rows"]])
        return f"{lines}\n\n{_machine(result)}.\n"
    return _matrix(result) if "checks" in result else _comparison(result)


def documents(result: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return {name in the comment lines: text between them} for the result in the JSON file ``name``."""
    texts = {name: table(result)}
    if "workloads" in result:
        texts[f"{name} in brief"] = _bench(result, timings.tables(result)[:1])
    if result.get("pairs"):
        columns, rows = pair_rows(result)
        texts[f"{name} pairs"] = f"{_lines([columns, ['---'] * len(columns), *rows])}\n\n{_machine(result)}.\n"
    return texts


def _bench(result: Mapping[str, Any], tables: Sequence[timings.Table]) -> str:
    parts = [f"**{title}**\n\n{_lines([columns, ['---'] * len(columns), *rows])}\n" for title, columns, rows in tables]
    about = f"{result['device']}, {result['precision']}, median of {result['rounds']} rounds ± half their range"
    return "\n".join([*parts, f"{about}; {_frameworks(result)}. {_machine(result)}.\n"])


def _frameworks(result: Mapping[str, Any]) -> str:
    names = {b: f["facts"]["framework"] for _, b, kind, f in contenders(result) if kind == "vgg" and "facts" in f}
    return "; ".join(names.values())


def _matrix(result: Mapping[str, Any]) -> str:
    backends = list(result["seconds"])
    rows = [[check, *(_cell(row.get(name)) for name in backends)] for check, row in result["checks"].items()]
    judged = result.get("judged", {})
    rows += [["judged", *("{} of {}".format(*judged[name]) for name in backends)]] if judged else []
    rows += [["seconds", *(f"{result['seconds'][name]:.0f}" for name in backends)]]
    rows += [[f"*{fact}*", *(_fact(row.get(name)) for name in backends)] for fact, row in result["declared"].items()]
    frameworks = "; ".join(f"{name}: {text}" for name, text in result["frameworks"].items())
    return _lines([["", *backends], ["---"] * (1 + len(backends)), *rows]) + f"\n\n{frameworks}. {_machine(result)}.\n"


def _fact(fact: Mapping[str, Any] | None) -> str:
    if fact is None or fact["wrong"]:
        return f"**{'failed' if fact else 'not judged'}**"
    return f"*{fact['text']}*" if fact["size"] is None else f"*{fact['text']}, {fact['size']:.0e}*"


def _cell(cell: Mapping[str, Any] | None) -> str:
    return cell_text(cell or {"outcome": "not judged"}, "**{}**".format)


def _comparison(result: Mapping[str, Any]) -> str:
    lines = [["", *result["backends"]], ["---"] * (1 + len(result["backends"]))]
    lines += [[row, *(cell.replace("\n", ", ") for cell in cells)] for row, cells in texts(result).items()]
    plan = result["recipe"]
    epochs = f"{plan['epochs']} epoch{'s' * (plan['epochs'] > 1)}"
    note = f"{plan['dataset']}, {epochs} of batch {plan['batch_size']} at {plan['size']} px"
    seeds = len(result.get("seeds", ()))
    note += f"; ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    return _lines(lines) + f"\n\n{note}; {_machine(result)}.\n"


def _lines(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _machine(result: Mapping[str, Any]) -> str:
    commit = f", commit {result['commit']}" if result.get("commit") else ""
    machine = result["machine"]
    gpus = f" and {', '.join(machine['gpus'])}" if "gpus" in machine else ""
    return f"{machine['cores']} cores of {machine['cpu']}{gpus}, {result['date'][:10]}{commit}"


def replaced(text: str, name: str, fresh: str) -> str:
    """Return ``text`` with ``fresh`` in place of the text between the two comment lines of ``name``.

    Raises ``VGGError`` when there are no such lines.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if start not in text or end not in text:
        raise VGGError(f"no lines '{start.strip()}' and '{end.strip()}' in the document")
    before, _, rest = text.partition(start)
    return before + start + fresh + end + rest.partition(end)[2]


def main(source: Path, document: Path) -> None:
    """Update the tables in ``document`` from the JSON file ``source``. Raises ``VGGError`` if there are none."""
    text = document.read_text()
    fresh = documents(json.loads(source.read_text()), source.name)
    names = [name for name in fresh if f"<!-- {name} -->" in text] or [source.name]
    for name in names:
        text = replaced(text, name, fresh[name])
    write_atomically(document, text.encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
