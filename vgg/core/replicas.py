"""Data-parallel training: which replicas this process holds, how many there are, and their shares of a batch.

Every process gets every job and every global batch, and takes its share. The frameworks do the rest, as
docs/replicas.md says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import mismatch
from .texts import shortened

Array = NDArray[Any]
Shard = tuple[Array, Array, dict[str, Array]]
COUNT, RANKS, PIPES = "VGG_REPLICAS", "VGG_RANKS", "VGG_PIPES"
"""Environment variables of a worker.

They hold the number of replicas in its process, the names of the launcher's variables, and the folder of the pipes from
which the other ranks read jobs.
"""
TASK = "a cluster of chief and worker, and a task that is one of them"


@dataclass(frozen=True)
class Group:
    """The processes that train together: their number, the replicas in each, and the rank of this process."""

    replicas: int = 1
    rank: int = 0
    processes: int = 1

    @property
    def size(self) -> int:
        """The number of replicas in all processes."""
        return self.replicas * self.processes

    def numbers(self, step: int) -> list[int]:
        """Return one number for each replica of this process.

        All replicas of all steps have different numbers. The number of a single replica is ``step``.
        """
        first = step * self.size + self.rank * self.replicas
        return list(range(first, first + self.replicas))

    def split(self, x: Array, y: Array, masks: Mapping[str, Array] | None) -> list[Shard]:
        """Split a global batch: return (images, labels, masks) for each replica of this process.

        ``x`` is (N, ...), ``y`` (N,), each mask (N, units). A replica gets consecutive images; the shares differ by at
        most one image, and some are empty when there are more replicas than images.
        """
        cuts = [len(x) * number // self.size for number in range(self.size + 1)]
        spans = [slice(cuts[number], cuts[number + 1]) for number in self.numbers(0)]
        return [(x[s], y[s], {name: mask[s] for name, mask in (masks or {}).items()}) for s in spans]

    def pad(self, array: Array) -> Array:
        """Return ``array`` followed by copies of its first row, so that the number of replicas divides its length."""
        missing = -len(array) % self.size
        return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array

    def real(self, count: int) -> NDArray[np.bool_] | None:
        """Return the mask, False for padding, of ``count`` examples after ``pad``; None when they need no padding."""
        padding = -count % self.size
        return np.arange(count + padding) < count if padding else None

    def fit(self, devices: int, what: str = "the GPUs here") -> None:
        """Raise ``VGGError`` when a process has more replicas than ``devices``; ``what`` names these in the message."""
        if self.replicas > max(devices, 1):
            raise mismatch("--replicas", self.replicas, f"at most {devices}, {what}")


def group() -> Group:
    """Return the group of this process, from the environment variables that the client and the launcher set.

    Raises ``VGGError`` when the launcher's variables are not what they should be.
    """
    return Group(int(os.environ.get(COUNT, "1")), *ranks_of(os.environ.get(RANKS, "").split()))


def ranks_of(names: tuple[str, ...] | list[str]) -> tuple[int, int]:
    """Return (rank, number of processes) from the environment variables ``names``; (0, 1) when none of them is set.

    Two variables hold the two numbers; a single one, TensorFlow's, holds JSON. Raises ``VGGError`` for other contents.
    """
    values = [os.environ.get(name) for name in names]
    if all(value is None for value in values):
        return 0, 1
    rank, processes = _pair(values) if len(values) == 2 else _task(values[0] or "{}")
    if not 0 <= rank < processes:
        got = ", ".join("nothing" if value is None else shortened(value, 100) for value in values)
        wanted = "a rank, and a number of processes that is greater" if len(values) == 2 else TASK
        raise mismatch(", ".join(names), got, wanted, "unset what a launcher has left")
    return rank, processes


def _pair(values: list[str | None]) -> tuple[int, int]:
    """Return the two numbers, or (0, 0) if they are none."""
    rank, processes = ((value or "").strip() for value in values)
    return (int(rank), int(processes)) if rank.isdecimal() and processes.isdecimal() else (0, 0)


def _task(config: str) -> tuple[int, int]:
    """Return (rank, number of processes) from TensorFlow's TF_CONFIG, in which a chief comes before the workers.

    The number is 0 if ``config`` does not describe a task of a cluster.
    """
    try:
        settings = json.loads(config)
        cluster = settings.get("cluster", {})
        chiefs, workers = (_size(cluster.get(role, [])) for role in ("chief", "worker"))
        if not chiefs + workers:
            return (0, 0) if cluster else (0, 1)
        kind, index = settings["task"]["type"], int(settings["task"]["index"])
        start, count = {"chief": (0, chiefs), "worker": (chiefs, workers)}[kind]
        return (start + index, chiefs + workers) if 0 <= index < count else (0, 0)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return 0, 0


def _size(addresses: Any) -> int:
    """Return how many addresses a role has. Raises ``TypeError`` unless they are texts in a list."""
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise TypeError(addresses)
    return len(addresses)
