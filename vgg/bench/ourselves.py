"""What vgg itself costs: its import, a command, and the seam between client and worker."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import data, registry, runs, spec
from ..client import Worker
from ..errors import BackendError
from ..recipe import recipe

TIMES = 11
COMMANDS = {
    "nothing": ["-c", "pass"],
    "numpy": ["-c", "import numpy"],
    "vgg": ["-c", "import numpy, vgg"],
    "show": ["-m", "vgg.cli", "show", "vgg16"],
}
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "mxnet"}


def timed(names: Sequence[str], options: Namespace, listener: runs.Listener) -> dict[str, Any]:
    """Seconds of processes, in turn; frameworks that ``import vgg`` and ``vgg show`` brought along; the seam's share of
    a training run in each backend.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(TIMES):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": seconds, "imported": _imported(), "seam": {n: _seam(n, options, listener) for n in names}}


def _imported() -> list[str]:
    code = "import sys, vgg.cli; vgg.cli.main(['show', 'vgg16']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return sorted(FRAMEWORKS & set(done.stdout.splitlines()[-1].split()))


def _seam(name: str, options: Namespace, listener: runs.Listener) -> float | dict[str, str]:
    """Of the time of an epoch of ``quick``: what client and worker spend on each other, not on training."""
    plan, dataset = recipe("quick", epochs=1), data.load("digits")
    chosen = spec.arch("vgg11_narrow", input_shape=(1, plan.size, plan.size))
    given = {part: getattr(dataset, part) for part in runs.PARTS}
    told = {"spec": chosen.to_dict(), "recipe": plan.to_dict(), "device": options.device, "keep": 1}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="vgg-") as place,
            Worker(registry.find(name), env=options.env, timeout=options.timeout, device=options.device) as worker,
        ):
            worker.facts()
            start = time.perf_counter()
            summary, _ = worker.call(
                "train", given, out=str(Path(place)), on_event=lambda event: listener.event(name, event), **told
            )
            return 1 - float(summary["seconds"]) / (time.perf_counter() - start)
    except BackendError as error:
        return {"error": str(error)}
