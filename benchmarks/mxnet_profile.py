"""Where a training step of the slowest backend goes, by MXNet's own profiler: a Markdown table on standard output.

PYTHONPATH=. uv run --no-project --python 3.11 --with-requirements vgg/envs/mxnet.txt python benchmarks/mxnet_profile.py
"""

from __future__ import annotations

import json
import sys

import mxnet as mx

from vgg import params
from vgg.backends import mxnet as backend
from vgg.bench import workloads

STEPS = 5
LEAST = 0.005
"""Of the whole, below which an operator is not shown."""


def main() -> None:
    """Profile steps of vgg11_narrow at 1x224x224, batch 32."""
    workload = workloads.find("vgg11_narrow")
    batch = workload.batches["cpu"][0]
    model = backend.load(backend.build(workload.spec), params.init(workload.spec, 0, "he_normal"))
    learner = backend.learner(model, workloads.recipe(batch, "float32"))
    images, labels = workload.images(batch)[:batch], workload.labels(batch)[:batch]
    for _ in range(3):
        float(learner.step(images, labels, 1e-3))
    mx.nd.waitall()
    mx.profiler.set_config(profile_all=True, aggregate_stats=True, filename="/dev/null")
    mx.profiler.set_state("run")
    for _ in range(STEPS):
        float(learner.step(images, labels, 1e-3))
    mx.nd.waitall()
    mx.profiler.set_state("stop")
    operators = json.loads(mx.profiler.dumps(format="json"))["Time"]["operator"]
    seconds = {name: stats["Total"] / 1000 / STEPS for name, stats in operators.items()}
    whole = sum(seconds.values())
    lines = ["| operator | seconds a step | share |", "| --- | --- | --- |"]
    for name, took in sorted(seconds.items(), key=lambda item: -item[1]):
        lines += [f"| `{name}` | {took:.3f} | {took / whole:.0%} |"] if took > LEAST * whole else []
    sys.stdout.write("\n".join([*lines, f"| all | {whole:.3f} | 100% |", ""]))


if __name__ == "__main__":
    main()
