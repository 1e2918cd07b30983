"""The rows of the table of a comparison or a run, as text, for the terminal, for pages and for documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = dict[str, Callable[[Mapping[str, Any]], str]]
"""Name of a row -> the function that makes its text from a backend's column in ``compare.json``."""
LAYERS, PARAMETERS = "layers as in the table, 224 -> 7", "parameters, at 224 px"
"""The rows about the structure of a VGG; that of another network is compared at its own input."""
OWN_LAYERS = "layers as in the table"
PROVEN: Rows = {
    LAYERS: lambda c: "-" if c["layers"] is None else f"{c['layers_agreeing']} of {c['layers']}",
    PARAMETERS: lambda c: "-" if c["layers"] is None else f"{c['parameters']:,}",
    "worst float64 error, logits": lambda c: _error(c, "logits_error"),
    "worst float64 error, gradients": lambda c: _error(c, "gradient_error"),
    "the same network": lambda c: "yes" if c["ok"] else f"NO: {c['reason'] or 'structure'}",
}
TRAINED: Rows = {
    "first training loss": lambda c: fixed(c["first_loss"], 4),
    "last training loss": lambda c: _over_seeds(c, "last_loss", 4),
    "test accuracy": lambda c: _over_seeds(c, "test_accuracy", 4),
    "images/s": lambda c: _over_seeds(c, "images_per_second", 0),
    "compile time": lambda c: "" if c["compile_seconds"] is None else f"{fixed(round(c['compile_seconds'], 1), 1)} s",
    "time in no step, evaluation or checkpoint": lambda c: (
        f"{c['shares']['other']:.1%}" if "other" in c.get("shares", ()) else "-"
    ),
    "peak memory, host": lambda c: size(c["peak_bytes"]),
}
PLACE: Rows = {
    "framework": lambda c: c["facts"]["framework"].replace(", ", "\n"),
    "device": lambda c: c["device"],
}
ROWS = PLACE | PROVEN | TRAINED
QUANTITIES = {"test_accuracy": "test accuracy", "last_loss": "last training loss", "images_per_second": "images/s"}
"""Quantity of which pairs are compared -> its name in a table."""
OF_SEEDS = ("runs", "statistics", "digests", "failures")
"""The fields of a backend's column that are about all seeds. The others are those of the first one's run."""
LARGE = 1e6
"""From here on numbers are written as powers of ten: a loss that diverged may have thirty digits."""
BOOK = [1, 224, 224]
"""The input at which the structure of a named architecture is compared."""


def texts(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return ``{row: one text per backend}`` of a comparison, or of one run, which lacks ``ok`` and the proof."""
    rows = _rows_of(result) if "ok" in result else PLACE | TRAINED
    columns, seeds = result["backends"].values(), _seeds(result)
    if any(len(column.get("runs", ())) not in (0, seeds) for column in columns):
        rows = {"finished runs": lambda c: f"{len(c['runs'])} of {seeds}"} | rows
    return {row: [text(column) if "facts" in column else "failed" for column in columns] for row, text in rows.items()}


def _rows_of(result: Mapping[str, Any]) -> Rows:
    columns = [column for column in result["backends"].values() if column.get("layers", True) and "error" not in column]
    at_224 = bool(columns) and all(list(column.get("structure_at", BOOK))[1:] == BOOK[1:] for column in columns)
    names = {LAYERS: f"{OWN_LAYERS}, at 224 px"} if at_224 else {LAYERS: OWN_LAYERS, PARAMETERS: "parameters"}
    names = {} if at_224 and all(map(_ends_at_7, columns)) else names
    return {names.get(row, row): text for row, text in ROWS.items()}


def _ends_at_7(column: Mapping[str, Any]) -> bool:
    """Return whether the last maps of a backend are 7x7, as those of every VGG are; earlier versions have no shapes."""
    maps = [shape[1:] for shape in (column.get("shapes") or {}).values() if len(shape) == 3]
    return not maps or maps[-1] == [7, 7]


def pair_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return (names of the columns, rows of texts) about the pairs of a comparison; no rows if it has one seed."""
    pairs = result.get("pairs", ()) if _seeds(result) > 1 else ()
    return ["", "pair", "difference", "95 % interval", "verdict"], [_pair(pair, _seeds(result)) for pair in pairs]


def _pair(pair: Mapping[str, Any], seeds: int) -> list[str]:
    form = percent if "ratio" in pair else _signed
    values = pair.get("ratio", pair)
    difference, interval, count = values["difference"], values["interval"], pair["count"]
    verdict = pair["word"] + ("" if count == seeds else f" (common seeds: {count})")
    if pair["word"] == "not distinguishable":
        seen = form(values["visible"]).lstrip("+")
        verdict += (
            f"; {count} runs would have seen {seen}" if values["visible"] else f"; {_alike(interval)} in every run"
        )
    span = " to ".join(map(form, interval)) if interval else "-"
    about = "-" if difference is None else form(difference)
    return [QUANTITIES[pair["quantity"]], " - ".join(pair["backends"]), about, span, verdict]


def _alike(interval: Sequence[float]) -> str:
    """Return the words for runs without a deviation: only exactly equal values have an interval without a width."""
    return "equal up to rounding" if any(interval) else "the same"


def percent(value: float) -> str:
    """Return a ratio minus 1 in percent, with its sign."""
    return f"{fixed(100 * value, 1, '+')}%"


def _signed(value: float) -> str:
    return fixed(value, 4, "+")


def fixed(value: float, places: int, sign: str = "") -> str:
    """Return a number with ``places`` decimals, or as a power of ten if these would hide it or it has many digits."""
    size = abs(value)
    form = f".{places}f" if not size or 10.0**-places <= size < LARGE else ".2g" if size < 1 else ".4e"
    return f"{value:{sign}{form}}"


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return sentences about what the tables of a comparison do not say, or how they are to be read."""
    count = math.comb(len(result["backends"]), 2)
    if not count or "seeds" not in result:
        return []
    if _seeds(result) == 1:
        alone = "One run per backend tells nothing about which is more accurate: chance alone makes runs differ."
        return [f"{alone} --seeds 5 trains each five times; see docs/comparing.md."]
    seeds, several = f"{_seeds(result)} seeds; other rows are of seed {result['seeds'][0]}", "all pairs together"
    return [
        f"± is the standard deviation over {seeds}. A difference is first minus second, or for images/s ratio minus 1.",
        f"The intervals of a quantity hold for {several if count > 1 else 'the pair'}. See docs/comparing.md.",
    ]


def failures(result: Mapping[str, Any]) -> list[str]:
    """Return one line or more about each run of a comparison that has failed, and each other network."""
    lines = []
    for name, column in result["backends"].items():
        errors = column.get("failures", {}) if _seeds(result) > 1 else {}
        lines += [f"{name}, seed {seed}, failed: {error}" for seed, error in errors.items()]
        lines += [f"{name} failed: {column['error']}"] if "error" in column and not errors else []
        lines += [f"{name} is another network: {column['reason']}"] if column.get("reason") else []
    return lines


def _seeds(result: Mapping[str, Any]) -> int:
    return len(result.get("seeds", ())) or 1


def _over_seeds(column: Mapping[str, Any], quantity: str, places: int) -> str:
    """Return the mean ± the standard deviation over the seeds, or the one value that there is."""
    about = column.get("statistics", {}).get(quantity, {})
    if about.get("count", 0) < 2:
        return fixed(column[quantity], places)
    return f"{fixed(about['mean'], places)} ± {fixed(about['deviation'], places)}"


def _error(column: Mapping[str, Any], name: str) -> str:
    if column["layers"] is None:
        return "-"
    return "over its limit" if column[name] is None else f"{column[name]:.1e}"


def size(count: int) -> str:
    """Return a number of bytes as text, in MB or GB."""
    return f"{count / 1e6:,.2f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"
