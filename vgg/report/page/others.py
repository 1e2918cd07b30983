"""The parts of a page about a result of ``vgg bench`` or of ``vgg check``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import conformance as matrix
from . import kills, timings
from .origin import origin
from .repeating import download


def timing(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the templates show of a result of ``vgg bench``."""
    return {
        "result": result,
        "origin": origin(result),
        "drawings": timings.drawings(result),
        "tables": timings.tables(result),
        "download": download("bench.json", result),
    }


def conformance(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the templates show of a result of ``vgg check``."""
    word, good, sentences = matrix.verdict(result)
    return {
        "result": result,
        "origin": origin(result),
        "word": word,
        "good": good,
        "sentences": sentences,
        "families": matrix.families(result),
        "faults": len(kills.kills()),
        "finders": kills.finders(list(dict.fromkeys([*(name.split()[0] for name in result["checks"]), "declared"]))),
        "legend": list(matrix.legend()),
        "reasons": matrix.reasons(result),
        "download": download("check.json", result),
    }
