"""Makes a table of the epochs of one run.

``python benchmarks/epochs.py RUN benchmarks/results/small-input.json`` reads the directory of a finished run. Then
``python tools/tables.py`` writes the table from that file into a document.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from vgg.core.files import write_atomically
from vgg.runs import directory
from vgg.training import history
from vgg.training.batches import Steps

KEPT = ("vgg", "commit", "date", "machine", "backend", "facts", "spec", "recipe", "summary")
COLUMNS = ("epoch", "learning rate", "training loss", "test loss", "test accuracy")


def main(run: Path, out: Path) -> None:
    """Write to ``out`` the contents of ``run.json``, without its paths, and one row per epoch.

    Raises ``VGGError`` when ``run`` is not a run directory.
    """
    directory.read(run)
    about, lines = directory.load(run), history.read(run / history.NAME)
    batches = Steps(about["examples"], about["recipe"]["batch_size"])
    rows = []
    for test in (line for line in lines if "test_loss" in line):
        steps = [line for line in lines if "loss" in line and line["epoch"] == test["epoch"]]
        loss = np.average([step["loss"] for step in steps], weights=[batches.images(step["step"]) for step in steps])
        figures = (loss, test["test_loss"], test["test_accuracy"])
        rows.append([str(test["epoch"] + 1), f"{steps[0]['lr']:g}", *(f"{figure:.4f}" for figure in figures)])
    result = {name: about[name] for name in KEPT} | {"columns": COLUMNS, "rows": rows}
    write_atomically(out, json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
