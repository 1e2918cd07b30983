"""JSON and TOML texts that a person wrote, or that pretend to be: read within limits, and refused by ``VGGError``."""

from __future__ import annotations

import re
from typing import Any

from . import limits
from .errors import VGGError, mismatch
from .texts import one_line, shown

_TOKENS = re.compile(r'"(?:[^"\\\n]|\\.){0,999}+"|' + r"'[^'\n]{0,999}+'|#[^\n]*|[.=,{}\[\]\n]")
"""What decides how long a dotted key is: strings and comments, in which dots do not count, and what ends a key."""


def json_value(text: str) -> Any:
    """Return the value in a JSON text. Raises ``VGGError`` when there is none, and for a key that is there twice."""
    import json

    try:
        return json.loads(_bounded(text), object_pairs_hook=table)
    except (ValueError, RecursionError) as error:
        raise _wrong("JSON", error) from error


def toml_value(text: str) -> dict[str, Any]:
    """Return the table in a TOML text. Raises ``VGGError`` when there is none."""
    import tomllib

    try:
        if _longest_key(_bounded(text)) > limits.KEY:
            raise mismatch("TOML", "a dotted key without end", f"at most {limits.KEY} parts")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("TOML", error) from error


def toml_fragment(text: str) -> Any:
    """Return the one value that ``text`` is in TOML, or ``text`` itself when it is none, as in ``--set lr=0.1``.

    Raises ``VGGError`` for a text that holds more than one line.
    """
    if text.splitlines() not in ([], [text]):
        raise mismatch("value", shown(text), "one line")
    try:  # the second form refuses comments, and what would end the first
        tables = [toml_value(f"value = {text}"), toml_value(f"table = {{value = {text}}}")["table"]]
    except (VGGError, KeyError):
        return text
    return tables[0]["value"] if all(table.keys() == {"value"} for table in tables) else text


def _bounded(text: Any) -> str:
    if not isinstance(text, str):
        raise mismatch("text", shown(text), "a string")
    if len(text) > limits.DOCUMENT:
        raise mismatch("text", f"{len(text):,} characters", f"at most {limits.DOCUMENT:,}")
    return text


def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the ``pairs`` of a JSON object as a dictionary. Raises ``VGGError`` for a key that is there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise VGGError(f"key {next(n for n in names if names.count(n) > 1)!r} is there twice; keep one")
    return values


def _longest_key(text: str) -> int:
    """Return the largest number of dots in what may be one key."""
    longest = run = 0
    for token in _TOKENS.finditer(text):
        run = run + 1 if token[0] == "." else run if token[0][0] in "\"'" else 0
        longest = max(longest, run)
    return longest


def _wrong(form: str, error: Exception) -> VGGError:
    if "integer string conversion" in str(error):
        return mismatch(f"not {form}", "an integer of thousands of digits", "a number")
    return VGGError(f"not {form}: {one_line(error)}")
