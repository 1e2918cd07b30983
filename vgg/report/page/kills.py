"""The kill matrix behind a result of the suite: which deliberately wrong backends each check finds, as strips."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ... import conformance
from .pictures import png

MEANT, ALSO = (0, 114, 178, 255), (0, 114, 178, 90)
"""The colours, as RGBA, of a fault that a check is meant to find and of another that it finds."""


class Finder(NamedTuple):
    """A check: how many faults it finds, how many of them no other check finds, and a strip with a column per fault."""

    check: str
    found: int
    alone: int
    strip: str


@lru_cache(maxsize=1)
def kills() -> Mapping[str, Sequence[str]]:
    """Return ``{fault: the checks that find it, the one meant for it first}``, as docs/kill-matrix.md has them."""
    found: Mapping[str, Sequence[str]] = json.loads(files(conformance).joinpath("kills.json").read_bytes())
    return found


def finders(checks: Sequence[str]) -> list[Finder]:
    """Return those of ``checks`` that find faults, in the order of faults."""
    faults = sorted(kills().values(), key=lambda found: checks.index(found[0]) if found[0] in checks else len(checks))
    counted = [(check, [found for found in faults if check in found]) for check in checks]
    return [
        Finder(check, len(found), sum(len(one) == 1 for one in found), _strip(check, faults))
        for check, found in counted
        if found
    ]


def _strip(check: str, faults: Sequence[Sequence[str]]) -> str:
    row = [MEANT if found[0] == check else ALSO if check in found else (0, 0, 0, 0) for found in faults]
    return png(np.array([row], np.uint8))
