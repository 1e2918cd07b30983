"""The rows of the table of a comparison or a run, as text, for the terminal, for pages and for documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rows = dict[str, Callable[[Mapping[str, Any]], str]]
"""Name of a row -> the function that makes its text from a backend's column in ``compare.json``."""
PROVEN: Rows = {
    "layers as in the table, 224 -> 7": lambda c: (
        "-" if c["layers"] is None else f"{c['layers_agreeing']} of {c['layers']}"
    ),
    "parameters, at 224 px": lambda c: "-" if c["layers"] is None else f"{c['parameters']:,}",
    "worst float64 error, logits": lambda c: _error(c, "logits_error"),
    "worst float64 error, gradients": lambda c: _error(c, "gradient_error"),
    "the same network": lambda c: "yes" if c["ok"] else f"NO: {c['reason'] or 'structure'}",
}
TRAINED: Rows = {
    "first training loss": lambda c: f"{c['first_loss']:.4f}",
    "last training loss": lambda c: f"{c['last_loss']:.4f}",
    "test accuracy": lambda c: f"{c['test_accuracy']:.4f}",
    "images/s": lambda c: f"{c['images_per_second']:.0f}",
    "compile time": lambda c: "" if c["compile_seconds"] is None else f"{c['compile_seconds']:.1f} s",
    "time in no step, evaluation or checkpoint": lambda c: f"{c['shares']['other']:.1%}" if "shares" in c else "-",
    "peak memory, host": lambda c: size(c["peak_bytes"]),
}
PLACE: Rows = {
    "framework": lambda c: c["facts"]["framework"].replace(", ", "\n"),
    "device": lambda c: c["device"],
}
ROWS = PLACE | PROVEN | TRAINED
OWN_INPUT = {
    "layers as in the table, 224 -> 7": "layers as in the table",
    "parameters, at 224 px": "parameters",
}
"""Other names of rows, used when the structure was compared at the input of the training, and not at 224 px."""


def texts(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return ``{row: one text per backend}`` of a comparison, or of one run, which lacks ``ok`` and the proof."""
    rows = _rows_of(result) if "ok" in result else PLACE | TRAINED
    columns = result["backends"].values()
    return {row: [text(column) if "facts" in column else "failed" for column in columns] for row, text in rows.items()}


def _rows_of(result: Mapping[str, Any]) -> Rows:
    inputs = [column["structure_at"] for column in result["backends"].values() if "structure_at" in column]
    names = {} if all(shape[1:] == [224, 224] for shape in inputs) else OWN_INPUT
    return {names.get(row, row): text for row, text in ROWS.items()}


def _error(column: Mapping[str, Any], name: str) -> str:
    if column["layers"] is None:
        return "-"
    return "over its limit" if column[name] is None else f"{column[name]:.1e}"


def size(count: int) -> str:
    """Return a number of bytes as text, in MB or GB."""
    return f"{count / 1e6:,.2f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"
