"""Measures how long the operators in a training step of MXNet take, by MXNet's profiler.

It prints JSON on standard output, with a table for ``python tools/tables.py``.

export OMP_NUM_THREADS=2 PYTHONPATH=.
uv run --no-project --python 3.11 --with-requirements vgg/process/envs/mxnet.txt python benchmarks/mxnet_profile.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import mxnet as mx

from vgg.backends import mxnet as backend
from vgg.core import init
from vgg.timing import contender, workloads
from vgg.timing.conditions import Conditions

STEPS = 5
CONDITIONS = Conditions(rounds=STEPS, env="current")
LEAST = 0.005
"""The smallest share of the whole time for which an operator is shown."""


def profiled(step: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Return {operator: statistics} of ``STEPS`` steps, with times in milliseconds.

    The profiler replaces the file that it is configured with, even a device, so it gets one in a temporary folder.
    """
    with tempfile.TemporaryDirectory() as home:
        mx.profiler.set_config(profile_all=True, aggregate_stats=True, filename=str(Path(home, "profile.json")))
        mx.profiler.set_state("run")
        for _ in range(STEPS):
            step()
        mx.nd.waitall()
        mx.profiler.set_state("stop")
        statistics: dict[str, dict[str, float]] = json.loads(mx.profiler.dumps(format="json"))["Time"]["operator"]
        return statistics


def main() -> None:
    """Profile steps of vgg11_narrow at 1x224x224, batch 32."""
    workload = workloads.find("vgg11_narrow")
    batch = workload.batches["cpu"][0]
    model = backend.load(backend.build(workload.spec), init.init(workload.spec, 0, "he_normal"))
    learner = backend.learner(model, workloads.recipe(batch, "float32"))
    images, labels = workload.images(batch)[:batch], workload.labels(batch)[:batch]
    for _ in range(3):
        float(learner.step(images, labels, 1e-3))
    mx.nd.waitall()
    operators = profiled(lambda: float(learner.step(images, labels, 1e-3)))
    seconds = {name: stats["Total"] / 1000 / STEPS for name, stats in operators.items()}
    whole = sum(seconds.values())
    rows = [[f"`{n}`", f"{part:.3f}", f"{part / whole:.0%}"] for n, part in seconds.items() if part > LEAST * whole]
    rows = [*sorted(rows, key=lambda row: row[1], reverse=True), ["all", f"{whole:.3f}", "100%"]]
    table = {"columns": ["operator", "seconds a step", "share"], "rows": rows}
    result = {"variables": contender.variables(), "seconds": seconds, **table}
    json.dump({**CONDITIONS.about(), **result}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
