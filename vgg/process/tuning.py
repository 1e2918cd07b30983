"""Variables that a worker is started with: what makes its framework faster, deterministic, or blind to a GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SMT = Path("/sys/devices/system/cpu/smt/active")


def _mxnets() -> dict[str, str]:
    """MXNet takes half of the processors, as if each core were two of them. Where each is a core, it may have all."""
    one_each = _SMT.exists() and _SMT.read_text().strip() == "0"
    return {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))} if one_each else {}


FAST: dict[str, dict[str, str]] = {
    # Memory that is freed stays with the process: else every step's activations are new pages.
    "torch": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)},
    # Its default is oneDNN only where the processor has AVX-512.
    "tensorflow": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    # XLA's convolutions by YNNPACK are slower than those by Eigen, its sums can be wrong (jax-ml/jax#39103); huge
    # pages cost fewer faults.
    "jax": {
        "XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution,-reduce",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
    "mxnet": _mxnets(),
}
"""Measured on two cores with AVX2: docs/speed.md."""

FIXED = {"tensorflow": {"KERAS_BACKEND": "tensorflow"}}  # Keras reads it once, at import
"""Without which a backend's module is none, whatever the user has set."""


UNSEEN = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
"""Where a CPU is asked for: frameworks take hold of every GPU that they see."""
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
"""Where a GPU is: several processes may be on it."""
_ORDERED = {
    "VGG_DETERMINISTIC": "1",  # the torch backend asks for it in code
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TF_DETERMINISTIC_OPS": "1",
    "MXNET_ENFORCE_DETERMINISM": "1",
}


def deterministic(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a framework adds in one order on a GPU too; a user's XLA flags stay."""
    flags = os.environ.get("XLA_FLAGS") or variables.get("XLA_FLAGS", "")
    return {**_ORDERED, "XLA_FLAGS": f"{flags} --xla_gpu_deterministic_ops=true".strip()}
