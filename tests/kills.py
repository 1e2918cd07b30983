"""Runs killed again and again, and whether they end as if nothing had happened.

``python tests/kills.py 20 benchmarks/results/kills.json`` kills a run of every backend 20 times.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.numpy import load_file

from vgg import BackendError, Head, Recipe, Spec, data, registry
from vgg.client import Worker
from vgg.params import write_atomically
from vgg.provenance import provenance
from vgg.runs import PARTS

SPEC = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(3, 13, 10), classes=7, head=Head((9,)), batch_norm=True)
RECIPE = Recipe(epochs=15, batch_size=8, lr=0.05, momentum=0.9, weight_decay=1e-3, lr_drops=((4, 0.1),), size=13)
IMAGES = 60
PROGRESS = 2
LATEST = 0.02
"""A life ends after so many steps at most, and seconds more: compiled steps are short, and a first one long."""


def killed(backend: str, kills: int, seed: int = 0) -> dict[str, Any]:
    """One run undisturbed, one killed ``kills`` times at random moments: what happened, and whether all bits agree."""
    moments = random.Random(seed)
    with TemporaryDirectory() as folder:
        calm, rough = Path(folder, "calm"), Path(folder, "rough")
        deaths = [_life(backend, rough, moments, None if life else calm) for life in range(kills)]
        with Worker(registry.find(backend)) as worker:
            _train(worker, rough)
        return {"kills": sum(deaths), "steps": len(_left(calm)["losses"]), "same_bits": _left(calm) == _left(rough)}


def _life(backend: str, out: Path, moments: random.Random, calm: Path | None) -> bool:
    """Go on with the run, and kill it in the middle of a step or a checkpoint; whether it was not over before.

    ``calm``: where to leave an undisturbed run first, since there is a worker.
    """
    steps, share = moments.randint(1, PROGRESS), moments.random()
    with Worker(registry.find(backend)) as worker:
        if calm:
            _train(worker, calm)

        def on_event(event: dict[str, Any]) -> None:
            nonlocal steps
            steps -= 1
            if steps == 0:
                threading.Timer(share * min(2 * event.get("seconds", 0.01), LATEST), worker._kill).start()

        try:
            _train(worker, out, on_event)
        except BackendError as error:
            if "SIGKILL" not in str(error):
                raise
            return True
        return False


def _train(worker: Worker, out: Path, on_event: Any = None) -> None:
    full = data.load("synthetic")
    out.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"spec": SPEC.to_dict(), "recipe": RECIPE.to_dict(), "device": "cpu", "every": 1}
    arrays = {part: getattr(full, part)[:IMAGES] for part in PARTS}
    worker.call("train", arrays, on_event=on_event, out=str(out), **settings)


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
