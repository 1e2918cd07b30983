"""The runs of the lesson on training: the four frameworks' curves, and what an initialisation does.

``python benchmarks/lesson_runs.py benchmarks/results/lesson-digits.json`` trains the narrow VGG-11 on the digits in every
framework, and it and a narrow VGG-19 in torch from several initialisations. Some of these runs diverge: their losses
are then null.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import vgg
from vgg import Spec, VGGError, arch
from vgg.core.files import write_atomically
from vgg.process.provenance import provenance
from vgg.training import history

INITIALISATIONS = ("he_uniform", "xavier_uniform", "torch", "jax", "mxnet", "paper")
"""Schemes of ``vgg.init``. Keras' default is Xavier's uniform."""
SIDE = 32


def nets() -> dict[str, Spec]:
    """Return the networks by name: a shallow one, a deep one, and the deep one with batch norm."""
    options = {"narrow": 4, "input_shape": (1, SIDE, SIDE), "classes": 10}
    return {
        "vgg11_narrow": arch("vgg11_narrow", input_shape=(1, SIDE, SIDE)),
        "vgg19, narrow": arch("vgg19", **options),
        "vgg19_bn, narrow": arch("vgg19_bn", **options),
    }


def curves(place: Path) -> dict[str, Any]:
    """Return the losses of every step and the accuracy after every epoch, by framework."""
    both = vgg.compare(None, "vgg11_narrow", recipe="quick", out=place, progress=False)
    return {name: _curve(both[name].metrics) for name in both.result["backends"]}


def _curve(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {
        "losses": [round(row["loss"], 4) for row in rows if "loss" in row],
        "accuracies": [round(row["test_accuracy"], 4) for row in rows if "test_accuracy" in row],
    }


def initialised(name: str, spec: Spec, scheme: str, place: Path) -> dict[str, Any]:
    """Return the first and the last loss and the accuracy of a run in torch, null where there is no number."""
    about: dict[str, Any] = {"arch": name, "init": scheme, "first": None, "last": None, "accuracy": None}
    try:
        run = vgg.train("torch", spec, recipe="quick", init=scheme, out=place, progress=False, keep=0)
    except VGGError:
        losses = [row["loss"] for row in history.read(place / history.NAME) if "loss" in row]
        return about | {"first": losses[0] if losses else None}
    curve = _curve(run.metrics)
    steps = len(curve["losses"]) // len(curve["accuracies"])
    last = sum(curve["losses"][-steps:]) / steps
    return about | {"first": curve["losses"][0], "last": round(last, 4), "accuracy": run.accuracy}


def main(path: Path) -> None:
    """Run everything and write the result to ``path``."""
    cases = [(name, scheme) for name in ("vgg11_narrow", "vgg19, narrow") for scheme in INITIALISATIONS]
    cases.append(("vgg19_bn, narrow", "he_uniform"))
    with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
        place = Path(folder)
        result: dict[str, Any] = {**provenance(), "recipe": "quick", "curves": curves(place / "curves")}
        specs = nets()
        result["initialisations"] = [
            initialised(name, specs[name], scheme, place / f"{i}") for i, (name, scheme) in enumerate(cases)
        ]
    write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
