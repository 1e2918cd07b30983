"""Where figures come from: what every result in JSON says of the code, the time and the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__


def provenance() -> dict[str, Any]:
    """``vgg`` (its version), ``commit``, ``date`` and ``machine``."""
    date = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"vgg": __version__, "commit": _commit(), "date": date, "machine": _machine()}


def _machine() -> dict[str, Any]:
    """What the figures were measured on."""
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
    """Their names, as the driver gives them."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, check=True, text=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _commit() -> str | None:
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
