"""The operating system: which ones can run backends, and how many cores this process may use."""

from __future__ import annotations

import os
import sys

from .errors import mismatch


def check_posix(command: str) -> None:
    """Raise ``VGGError`` on a system where no backend can run; ``command`` names what needs one."""
    if sys.platform == "win32":
        do = "use WSL 2 there; vgg list, vgg show and specs in Python work without it"
        raise mismatch(command, "Windows", "Linux or macOS", do)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
