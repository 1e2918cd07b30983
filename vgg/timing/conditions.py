"""The conditions under which every figure of a result is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..process.provenance import provenance


@dataclass(frozen=True)
class Conditions:
    """The conditions under which every figure of a result is measured.

    ``rounds``: the number of measurements of each contender. ``batch_size``: None means the workload's own sizes for
    the device. The rest is as in ``runs.options.Setup``.
    """

    device: str = "cpu"
    precision: str = "float32"
    rounds: int = 5
    env: str = "auto"
    timeout: float = 900
    batch_size: int | None = None

    def about(self) -> dict[str, Any]:
        """Return what a result records about its conditions, as a dict for JSON."""
        return provenance() | {name: getattr(self, name) for name in ("device", "precision", "rounds", "env")}
