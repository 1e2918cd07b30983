"""Where a result comes from, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def origin(result: Mapping[str, Any]) -> str:
    """Return date, machine, version and commit of a result."""
    machine = result["machine"]
    devices = [*machine.get("gpus", ()), f"{machine['cores']} cores of {machine['cpu']}"]
    version = f"vgg {result['vgg']}" + (f", commit {result['commit']}" if result.get("commit") else "")
    return " \N{MIDDLE DOT} ".join([str(result["date"])[:16].replace("T", " "), machine["system"], *devices, version])
