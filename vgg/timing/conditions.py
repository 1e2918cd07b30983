"""What every figure of a result is measured under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..process.provenance import provenance


@dataclass(frozen=True)
class Conditions:
    """What every figure of a result is measured under. ``batch_size`` None: the workload's own for the device.

    ``rounds``: measurements of each contender. The rest is as in ``runs.options.Setup``.
    """

    device: str = "cpu"
    precision: str = "float32"
    rounds: int = 5
    env: str = "auto"
    timeout: float = 900
    batch_size: int | None = None

    def about(self) -> dict[str, Any]:
        """What a result says of how it came about."""
        return provenance() | {name: getattr(self, name) for name in ("device", "precision", "rounds", "env")}
