"""Data-parallel training: which replicas of how many this process holds, and their shares of a batch.

Every process gets every job and every global batch, and takes its share. Frameworks do the rest: docs/replicas.md.
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

Array = NDArray[Any]
Shard = tuple[Array, Array, dict[str, Array]]
COUNT, RANKS, PIPES = "VGG_REPLICAS", "VGG_RANKS", "VGG_PIPES"
"""Variables for a worker: replicas in its process; names of the launcher's variables; folder of the ranks' pipes."""


@dataclass(frozen=True)
class Group:
    """The processes that train together, each with as many replicas, and this one's rank among them."""

    replicas: int = 1
    rank: int = 0
    processes: int = 1

    @property
    def size(self) -> int:
        """Replicas of all processes."""
        return self.replicas * self.processes

    def numbers(self, step: int) -> list[int]:
        """One number for each replica of this process, different for all replicas and steps: ``step`` if alone."""
        first = step * self.size + self.rank * self.replicas
        return list(range(first, first + self.replicas))

    def split(self, x: Array, y: Array, masks: Mapping[str, Array] | None) -> list[Shard]:
        """(images, labels, masks) for each replica of this process, of a global batch: neighbours, as many each as can
        be, none where there are more replicas than images.
        """
        cuts = [len(x) * number // self.size for number in range(self.size + 1)]
        spans = [slice(cuts[number], cuts[number + 1]) for number in self.numbers(0)]
        return [(x[s], y[s], {name: mask[s] for name, mask in (masks or {}).items()}) for s in spans]

    def pad(self, array: Array) -> Array:
        """``array`` and its first row, again and again, until the replicas divide it."""
        missing = -len(array) % self.size
        return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array

    def real(self, count: int) -> NDArray[np.bool_] | None:
        """Which of ``count`` padded examples are no padding, if any is."""
        padding = -count % self.size
        return np.arange(count + padding) < count if padding else None

    def fit(self, devices: int, what: str = "the GPUs here") -> None:
        """``VGGError`` where a process has more replicas than devices."""
        if self.replicas > max(devices, 1):
            raise mismatch("--replicas", self.replicas, f"at most {devices}, {what}")


def group() -> Group:
    """As the client and the launcher told this process."""
    return Group(int(os.environ.get(COUNT, "1")), *ranks_of(os.environ.get(RANKS, "").split()))


def ranks_of(names: tuple[str, ...] | list[str]) -> tuple[int, int]:
    """(rank, processes) from the variables of those names; TensorFlow's single one holds JSON."""
    given = [os.environ.get(name) for name in names]
    if not given or None in given:
        return 0, 1
    if len(given) == 2:
        try:
            return int(given[0] or 0), int(given[1] or 1)
        except ValueError as error:
            raise mismatch(", ".join(names), ", ".join(map(str, given)), "two whole numbers") from error
    return _task(given[0] or "{}")


def _task(config: str) -> tuple[int, int]:
    """(rank, processes) of TensorFlow's TF_CONFIG, where a chief comes before the workers."""
    try:
        told = json.loads(config)
        chiefs, workers = (len(told.get("cluster", {}).get(role, ())) for role in ("chief", "worker"))
        if not chiefs + workers:
            return 0, 1
        task = told["task"]
        ranks = {"chief": int(task["index"]), "worker": chiefs + int(task["index"])}
        return ranks[task["type"]], chiefs + workers
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        wanted = "a cluster of chief and worker, and a task that is one of them"
        raise mismatch("TF_CONFIG", f"{config} ({type(error).__name__})", wanted) from error
