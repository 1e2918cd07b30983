"""Runs killed again and again, and whether they end as if nothing had happened.

``python tests/kills.py 20 benchmarks/results/kills.json`` kills a run of every backend 20 times.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.numpy import load_file

from vgg import BackendError, Head, Recipe, Spec
from vgg.core.files import write_atomically
from vgg.process import registry
from vgg.process.client import Worker
from vgg.process.provenance import provenance
from vgg.runs import train
from vgg.runs.options import Setup, Task
from vgg.training import data

SPEC = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(3, 13, 10), classes=7, head=Head((9,)), batch_norm=True)
RECIPE = Recipe(epochs=15, batch_size=8, lr=0.05, momentum=0.9, weight_decay=1e-3, lr_drops=((4, 0.1),), size=13)
IMAGES = 60
STEPS = 120
PROGRESS = 11
"""Steps that a life takes at most."""
AT_START = 0.25
"""Of the lives end before they have taken a step, within ``STARTING`` seconds."""
STARTING = 0.5
LATEST = 0.02
"""The others end so many seconds after their last step at most: compiled steps are short, and a first one long."""


class Killer:
    """A listener that kills ``worker`` at a random moment once ``steps`` are behind the run; 0: while it starts."""

    def __init__(self, worker: Worker, steps: int, moment: float) -> None:
        self.worker, self.steps, self.moment, self.armed = worker, steps, moment, False

    def stage(self, backend: str, what: str, total: int | None = None) -> None:
        if not self.steps:
            self._arm(STARTING)

    def event(self, backend: str, event: dict[str, Any]) -> None:
        if event.get("number", 0) >= self.steps:
            self._arm(min(2 * event.get("seconds", LATEST), LATEST))

    def _arm(self, within: float) -> None:
        if not self.armed:
            threading.Timer(self.moment * within, self.worker._channel.kill).start()
        self.armed = True


def killed(backend: str, kills: int, seed: int = 0) -> dict[str, Any]:
    """One run undisturbed; and as many, resumed after every kill, as ``kills`` at random moments of their whole course
    take: after how many steps they came, and whether all bits agree.
    """
    moments, at, ended, died = random.Random(seed), list[int](), list[dict[str, Any]](), True
    with TemporaryDirectory() as folder:
        calm = Path(folder, "calm")
        while died or len(at) < kills:
            out = Path(folder, f"rough{len(ended)}")
            steps = 0 if moments.random() < AT_START else _behind(out) + moments.randint(1, PROGRESS)
            died = _dies(backend, out, steps if len(at) < kills else STEPS + 1, moments.random(), calm)
            if died:
                at.append(_behind(out))
            else:
                ended.append(_left(out))
        same = all(one == _left(calm) for one in ended)
        return {"kills": len(at), "after_steps": at, "runs": len(ended), "steps": _behind(calm), "same_bits": same}


def _dies(backend: str, out: Path, steps: int, moment: float, calm: Path) -> bool:
    """Go on with the run and kill it; whether it was not over before. First the calm one, since there is a worker."""
    with Worker(registry.find(backend)) as worker:
        if not calm.exists():
            _train(worker, calm)
        try:
            _train(worker, out, Killer(worker, steps, moment))
        except BackendError as error:
            if "SIGKILL" not in str(error):
                raise
            return True
        return False


def _behind(out: Path) -> int:
    """Steps that the run has noted."""
    path = out / "metrics.jsonl"
    return path.read_text().count('"seconds"') if path.exists() else 0


def _train(worker: Worker, out: Path, killer: Killer | None = None) -> None:
    """As ``vgg train --every 1``; where there is a run, as ``vgg train --resume``."""
    listener = killer or Killer(worker, STEPS + 1, 0.0)
    full = data.load("synthetic")
    few = dataclasses.replace(full, **{part: getattr(full, part)[:IMAGES] for part in train.PARTS})
    task, resume = Task(SPEC, RECIPE, few), (out / "run.json").exists()
    train.train(worker, train.Prepared(worker.entry, out, task, Setup(every=1), resume), listener)


def _left(out: Path) -> dict[str, Any]:
    """What a run ended with: every bit of its losses and weights."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    weights = load_file(out / "weights.safetensors")
    return {
        "losses": [row["loss"] for row in rows if "loss" in row],
        "tests": [row["test_loss"] for row in rows if "test_loss" in row],
        "weights": {name: array.tobytes() for name, array in weights.items()},
    }


if __name__ == "__main__":
    found = {name: killed(name, int(sys.argv[1])) for name in registry.own_names()}
    write_atomically(Path(sys.argv[2]), json.dumps(provenance() | {"backends": found}, indent=1).encode())
