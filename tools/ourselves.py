"""The costs of vgg itself: its import, a command, and the communication between client and worker ("seam").

``python tools/ourselves.py JSON`` adds them to a result of ``vgg bench``, under the key ``ourselves``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgg.core import architectures
from vgg.core.errors import BackendError
from vgg.core.files import write_atomically
from vgg.core.recipe import recipe
from vgg.process import registry
from vgg.process.client import Worker
from vgg.runs.train import PARTS
from vgg.training import data

TIMES = 11
"""The number of runs of each command."""
COMMANDS = {
    "nothing": ["-c", "pass"],
    "numpy": ["-c", "import numpy"],
    "vgg": ["-c", "import numpy, vgg"],
    "show": ["-m", "vgg", "show", "vgg16"],
}
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "mxnet"}


def timed(names: Sequence[str]) -> dict[str, Any]:
    """Measure the costs of vgg.

    Returns ``seconds`` of each of ``COMMANDS``, which run in turn; ``imported``, the frameworks that ``import vgg`` or
    ``vgg show`` imported; and ``seam``, the share of the communication in a training run of each backend.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(TIMES):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": seconds, "imported": _imported(), "seam": {n: _seam(n) for n in names}}


def _imported() -> list[str]:
    code = "import sys, vgg.cli; vgg.cli.main(['show', 'vgg16']); print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return sorted(FRAMEWORKS & set(process.stdout.splitlines()[-1].split()))


def _seam(name: str) -> float | dict[str, str]:
    """Return the share of an epoch of ``quick`` that client and worker spend on communication, or the error."""
    plan, dataset = recipe("quick", epochs=1), data.load("digits")
    spec = architectures.arch("vgg11_narrow", input_shape=(1, plan.size, plan.size))
    arrays = {part: getattr(dataset, part) for part in PARTS}
    options = {"spec": spec.to_dict(), "recipe": plan.to_dict(), "device": "cpu", "keep": 1}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="vgg-") as place,
            Worker(registry.find(name)) as worker,
        ):
            worker.facts()
            start = time.perf_counter()
            summary, _ = worker.call("train", arrays, out=place, on_event=lambda _: None, **options)
            return 1 - float(summary["seconds"]) / (time.perf_counter() - start)
    except BackendError as error:
        return {"error": str(error)}


def main(path: Path) -> None:
    """Measure vgg's costs for the backends of the result in ``path``, and add them to this result."""
    result = json.loads(path.read_text())
    names = dict.fromkeys(name for workload in result["workloads"].values() for name in workload["backends"])
    result["ourselves"] = timed(list(names))
    write_atomically(path, json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
