"""The runs of the lesson on training: the four frameworks' curves, and what an initialisation does.

``python benchmarks/lesson_runs.py curves RUN OUT`` reads the directory of a comparison. ``python
benchmarks/lesson_runs.py initialisations OUT`` trains a narrow VGG-11 and a narrow VGG-19 in torch from several
initialisations; losses of runs that diverge are null. Both add to the file OUT, which is
``benchmarks/results/lesson-digits.json``.
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

KEPT = ("vgg", "commit", "date", "machine", "recipe")
SCHEMES = ("he_uniform", "xavier_uniform", "torch", "jax", "mxnet", "paper")
"""Schemes of ``vgg.init``. Keras' default is Xavier's uniform."""
SIDE, HIDDEN, EPOCHS = 32, (256, 256), 4


def nets() -> dict[str, Spec]:
    """Return the networks by name: a shallow one, a deep one, and the deep one with batch norm."""
    options: dict[str, Any] = {"narrow": 4, "input_shape": (1, SIDE, SIDE), "classes": 10, "hidden": HIDDEN}
    return {name: arch(name, **options) for name in ("vgg11", "vgg19", "vgg19_bn")}


def curves(place: Path) -> dict[str, Any]:
    """Return the losses of every step and the accuracy after every epoch, by framework, of a comparison."""
    about = json.loads((place / "compare.json").read_text(encoding="utf-8"))
    runs = {name: curve(history.read(place / name / history.NAME)) for name in about["backends"]}
    return {name: about[name] for name in KEPT} | {"runs": runs}


def curve(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the ``losses`` and the ``accuracies`` in the rows of a run."""
    return {
        "losses": [round(row["loss"], 4) for row in rows if "loss" in row],
        "accuracies": [round(row["test_accuracy"], 4) for row in rows if "test_accuracy" in row],
    }


def initialisations() -> dict[str, Any]:
    """Return the outcome of every network from every initialisation."""
    cases = [(name, scheme) for name in ("vgg11", "vgg19") for scheme in SCHEMES] + [("vgg19_bn", "he_uniform")]
    with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
        runs = [trained(*case, Path(folder, str(i))) for i, case in enumerate(cases)]
    return {**provenance(), "epochs": EPOCHS, "runs": runs}


def trained(name: str, scheme: str, place: Path) -> dict[str, Any]:
    """Return the first loss, the mean loss of the last epoch and the accuracy, null where there is no number."""
    about: dict[str, Any] = {"arch": name, "init": scheme, "first": None, "last": None, "accuracy": None}
    options: dict[str, Any] = {"recipe": "quick", "epochs": EPOCHS, "keep": 0, "progress": False}
    try:
        rows = vgg.train("torch", nets()[name], init=scheme, out=place, **options).metrics
    except VGGError:
        losses = [row["loss"] for row in history.read(place / history.NAME) if "loss" in row]
        return about | {"first": losses[0] if losses else None}
    results = curve(rows)
    last = results["losses"][-(len(results["losses"]) // EPOCHS) :]
    outcome = {"first": results["losses"][0], "last": sum(last) / len(last), "accuracy": results["accuracies"][-1]}
    return about | outcome


def main(part: str, *paths: Path) -> None:
    """Make the part ``curves`` or ``initialisations`` of the result in the last of ``paths``."""
    *runs, out = paths
    result = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    result[part] = curves(*runs) if part == "curves" else initialisations()
    write_atomically(out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
