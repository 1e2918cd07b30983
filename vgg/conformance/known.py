"""Known failures: a TOML file that lives with the adopter of the suite, and is strict.

    [[known]]
    id = "forward mixed float64 eval"
    reason = "our LRN is float32"
    link = "https://example.org/issues/1"
    backend = "mine"  # may be left out: then every backend that is judged

An entry that matches nothing is an error; so is one that passes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import VGGError, mismatch, unknown


def read(path: str, cells: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], str]]:
    """((backend, id), why) of every cell, of those given as (backend, id), that is expected to fail."""
    try:
        given = tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise VGGError(f"{path}: not a readable TOML file ({error})") from error
    taken: set[tuple[str, str]] = set()
    for entry in _checked(path, given):
        found = [cell for cell in cells if (entry.get("backend", cell[0]), entry["id"]) == cell]
        if not found and entry["id"] in {check for _, check in cells}:
            raise unknown(f"backend in {path}:", entry["backend"], {backend for backend, _ in cells})
        if not found:
            raise unknown(f"id in {path}:", entry["id"], {check for _, check in cells})
        if again := taken & {*found}:
            raise mismatch(path, f"two entries for {' '.join(min(again))}", "one")
        taken |= {*found}
        yield from ((cell, f"{entry['reason']} ({entry['link']})") for cell in found)


def _checked(path: str, given: dict[str, Any]) -> list[dict[str, str]]:
    wanted, entries = {"id", "reason", "link"}, given.get("known", [])
    if given.keys() - {"known"} or not isinstance(entries, list):
        raise mismatch(path, ", ".join(given), "tables headed [[known]] and nothing else")
    for entry in entries:
        if not isinstance(entry, dict) or not wanted <= entry.keys() <= wanted | {"backend"}:
            raise mismatch(f"{path}: an entry", entry, "id, reason, link, and perhaps backend")
        if not all(isinstance(value, str) for value in entry.values()):
            raise mismatch(f"{path}: an entry", entry, "strings")
    return entries
