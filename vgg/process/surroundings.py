"""The user's environment variables that a worker gets. Those that would change its numbers stay outside."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .ranks import LAUNCHERS
from .registry import Entry

_SETTINGS = re.compile(
    r"(JAX|FLAX|XLA|LIBTPU|TF|KERAS|TORCH|PYTORCH|ATEN|AOTI|MXNET|ONEDNN|DNNL|MKLDNN|NNVM|NVIDIA_TF32)_\w+"
)
"""The names of the frameworks' own settings."""
_HARMLESS = re.compile(
    r"XLA_(FLAGS|PYTHON_CLIENT_\w+)"
    r"|\w+_(PLATFORMS?|\w*(CACHE|LOG|VERBOSE|THREAD|MEM|ALLOC|GROWTH|NCCL|GLOO|DISTRIBUTED|HOME|DETERMINIS)\w*)"
)
"""Of these, the settings that say where something is, how much of it is used, and how much is told about it."""
_INEXACT = re.compile(r"--\w*(fast_m|excess_precision)\S*")
"""XLA's flags that let it compute other numbers."""


def heard(entry: Entry, environ: Mapping[str, str], *, launched: bool) -> dict[str, str]:
    """Return the variables in ``environ`` that a worker of ``entry`` gets.

    It does not get the frameworks' settings, except the entry's own and those that change no number, nor, unless it
    is ``launched``, what a launcher has left.
    """
    own = {*entry.variables, *entry.fixed}
    kept = {name: value for name, value in environ.items() if name in own or _is_heard(name, launched=launched)}
    if "XLA_FLAGS" in kept:
        kept["XLA_FLAGS"] = _INEXACT.sub("", kept["XLA_FLAGS"])
    return kept


def _is_heard(name: str, *, launched: bool) -> bool:
    if LAUNCHERS.fullmatch(name):
        return launched
    return not _SETTINGS.fullmatch(name) or bool(_HARMLESS.fullmatch(name))
