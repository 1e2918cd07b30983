"""``vgg bench`` as a whole."""

from __future__ import annotations

import os
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__, params, proof, registry
from ..runs import Listener
from . import ourselves, parity, results, workloads
from .contest import Terms, contest

VARIABLES = ("XLA_FLAGS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "KMP_AFFINITY", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS")
"""What changes speed from outside, where it is set."""

Result = dict[str, Any]


def run(
    names: Sequence[str], chosen: Sequence[str], options: Namespace, listener: Listener, write: Callable[[Result], None]
) -> Result:
    """Time every workload in every backend, and then ourselves; ``write`` gets the result as far as it is."""
    result: Result = {
        "vgg": __version__,
        "commit": commit(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": proof.machine(),
        "device": options.device,
        "precision": options.precision,
        "rounds": options.rounds,
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "workloads": {},
    }
    for name in chosen:
        _time(result, workloads.find(name), names, options, listener, write)
    listener.stage("vgg", "timing itself")
    result["ourselves"] = ourselves.timed(names, options, listener)
    write(result)
    return result


def _time(
    result: Result,
    workload: workloads.Workload,
    names: Sequence[str],
    options: Namespace,
    listener: Listener,
    write: Callable[[Result], None],
) -> None:
    batch = options.batch_size or workload.batch[options.device]
    plan = workloads.recipe(batch, options.precision)
    column = result["workloads"][workload.name] = {**workloads.about(workload, batch), "backends": {}}
    listener.stage("oracle", workload.name)
    with tempfile.TemporaryDirectory(prefix="vgg-") as home:
        weights = params.init(workload.spec, plan.seed, plan.init)
        params.save_params(Path(home, "weights.safetensors"), weights, workload.spec)
        known = parity.truth(workload, weights, plan)
        terms = Terms(workload, plan, options.device, Path(home, "weights.safetensors"), known)
        for name in names:
            entry = registry.find(name)
            column["backends"][name] = contest(entry, terms, options.rounds, options.env, options.timeout, listener)
            result["ok"] = results.ok(result)
            write(result)


def commit() -> str | None:
    """Of the checkout that this package belongs to, marked where something is not committed; None if there is none."""
    git = ["git", "-C", str(Path(__file__).parent)]
    known, describe = ["ls-files", "--error-unmatch", Path(__file__).name], ["describe", "--always", "--dirty"]
    try:
        subprocess.run([*git, *known], capture_output=True, check=True)
        said = subprocess.run(
            [*git, *describe, "--abbrev=12", "--exclude=*"], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()
