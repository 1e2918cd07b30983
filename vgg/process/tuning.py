"""Environment variables of a worker, which make its framework faster or deterministic, or hide GPUs from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..core.systems import cores

_SMT = Path("/sys/devices/system/cpu/smt/active")


def _mxnets() -> dict[str, str]:
    """Return the variables for MXNet, which uses half of the processors, as if each core were two of them.

    On a machine where each processor is a core, it gets all of them.
    """
    one_each = _SMT.exists() and _SMT.read_text().strip() == "0"
    return {"OMP_NUM_THREADS": str(cores())} if one_each else {}


FAST: dict[str, dict[str, str]] = {
    # Freed memory stays with the process. Otherwise the activations of every step are new pages.
    "torch": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)},
    # By default it uses oneDNN only on processors with AVX-512.
    "tensorflow": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    # In XLA, YNNPACK's convolutions are slower than Eigen's, and its sums can be wrong (jax-ml/jax#39103). Huge pages
    # cause fewer page faults.
    "jax": {
        "XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution,-reduce",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
    "mxnet": _mxnets(),
}
"""Backend -> the variables that make it faster, as measured on two cores with AVX2: see docs/speed.md."""

FIXED = {"tensorflow": {"KERAS_BACKEND": "tensorflow"}}  # Keras reads it once, at import
"""Without which a backend's module is none, whatever the user has set."""


UNSEEN = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
"""Variables for the device cpu. Without them, frameworks reserve every GPU that they see."""
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
"""Variables for a GPU, which let several processes use it."""
_ORDERED = {
    "VGG_DETERMINISTIC": "1",  # the torch backend reads it
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TF_DETERMINISTIC_OPS": "1",
    "MXNET_ENFORCE_DETERMINISM": "1",
}


def tuned(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` with those of ``variables`` that it lacks. XLA gets the flags of both, the user's last.

    Without ours some of its sums are wrong, whatever the user's flags are for.
    """
    flags = [both["XLA_FLAGS"] for both in (variables, environ) if both.get("XLA_FLAGS")]
    return {**variables, **environ, **({"XLA_FLAGS": " ".join(flags)} if flags else {})}


def deterministic(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a framework adds in the same order on a GPU too.

    XLA flags of the user, and those in ``variables``, are kept.
    """
    flags = tuned(variables, os.environ).get("XLA_FLAGS", "")
    return {**_ORDERED, "XLA_FLAGS": f"{flags} --xla_gpu_deterministic_ops=true".strip()}
