"""All kinds of input, by name."""

from __future__ import annotations

from importlib import import_module

from .base import Fuzzer

KINDS = {
    "spec": "specs:Fuzz",
    "known failures": "known:Fuzz",
    "weights": "weights:Fuzz",
    "run directory": "runs:Fuzz",
    "report of a run": "runs:Reports",
    "bench result": "benches:Fuzz",
    "images": "images:Fuzz",
    "folder of images": "images:Folder",
    "messages of a worker": "wires:Fuzz",
    "lock file": "locks:Fuzz",
}


def fuzzer(kind: str) -> type[Fuzzer]:
    """Return the class of a kind, or of a fault that is planted, such as ``planted:Hangs``."""
    module, _, name = KINDS.get(kind, kind).partition(":")
    made: type[Fuzzer] = getattr(import_module(f"fuzzing.{module}"), name)
    return made
