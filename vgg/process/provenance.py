"""The origin of a result: what every JSON result says about the code, the time and the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__


def provenance() -> dict[str, Any]:
    """Return the version of ``vgg``, the ``commit``, the ``date`` and the ``machine``."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"vgg": __version__, "commit": _commit(), "date": date, "machine": _machine()}


def _machine() -> dict[str, Any]:
    """Return the system, the CPU, the number of cores, the version of Python, and the GPUs if there are any."""
    info = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    cpu = (models or [platform.processor() or platform.machine()])[0]
    about = {"system": platform.system(), "cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
    return about | ({"gpus": gpus} if (gpus := _gpus()) else {})


def _gpus() -> list[str]:
    """Return the names of the GPUs, as the driver gives them."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _commit() -> str | None:
    """Return the commit of the git checkout that holds this package, or None when there is no checkout.

    It ends in ``-dirty`` when there are changes that are not committed.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    listing, describe = ["ls-files", "--error-unmatch", Path(__file__).name], ["describe", "--always", "--dirty"]
    try:
        subprocess.run([*git, *listing], capture_output=True, check=True)
        commit = subprocess.run(
            [*git, *describe, "--abbrev=12", "--exclude=*"], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip()
