"""Settings of frameworks that a user has for other work: they change no number of a worker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vgg import Head, Recipe, Spec
from vgg.conformance.cases import Case
from vgg.process import registry
from vgg.process.client import Worker
from vgg.process.registry import Entry
from vgg.process.surroundings import heard
from vgg.process.tuning import tuned

SPEC = Spec.from_blocks(((1, 4),), input_shape=(2, 6, 9), classes=5, head=Head((7,)))
CASE = Case(replace(SPEC, batch_norm=True))
KERAS = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1, "backend": "jax"}
HOSTILE = {
    "KERAS_BACKEND": "jax",
    "KERAS_NNX_ENABLED": "1",
    "JAX_ENABLE_X64": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEFAULT_DTYPE_BITS": "32",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_SOFTMAX_CUSTOM_JVP": "0",
    "JAX_TRANSFER_GUARD": "disallow",
    "FLAX_RETURN_FROZEN_DICT": "1",
    "FLAX_FIX_RNG_SEPARATOR": "1",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_cpu_enable_fast_min_max=true",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF_SET_ONEDNN_FPMATH_MODE": "BF16",
    "TF_USE_LEGACY_KERAS": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NVIDIA_TF32_OVERRIDE": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MXNET_SAFE_ACCUMULATION": "1",
    "MXNET_MKLDNN_ENABLED": "0",
    "MXNET_ENGINE_TYPE": "NaiveEngine",
    "MXNET_BACKWARD_DO_MIRROR": "1",
    "MXNET_SUBGRAPH_BACKEND": "NONE",
}
KEPT = {
    "JAX_PLATFORMS": "cuda",
    "JAX_COMPILATION_CACHE_DIR": "/cache",
    "JAX_LOG_COMPILES": "1",
    "XLA_PYTHON_CLIENT_MEM_FRACTION": ".5",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TORCH_HOME": "/torch",
    "TORCH_NCCL_BLOCKING_WAIT": "1",
    "PYTORCH_CUDA_ALLOC_CONF": "backend:native",
    "MXNET_CPU_WORKER_NTHREADS": "1",
    "MXNET_ENFORCE_DETERMINISM": "1",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "0",
    "VGG_FAST": "1",
}


def numbers(name: str) -> dict[str, bytes]:
    """What a worker computes: a forward pass, gradients, a step with masks of its own and an evaluation, to the bit."""
    arrays: dict[str, Any] = {}
    with Worker(registry.find(name), variables={"VGG_HASTY": "float64"}) as worker:
        for dtype in ("float64", "float32"):
            x, y = CASE.images(dtype), CASE.labels()
            worker.build(CASE.spec, CASE.params(dtype), dtype=dtype)
            loss, grads = worker.loss_and_grads(x, y, train=True)
            arrays |= {f"{dtype} {n}": a for n, a in {"logits": worker.forward(x), "loss": loss, **grads}.items()}
            worker.learner(Recipe(momentum=0.9, precision=dtype))
            moved = {"step": worker.step(x, y, 0.01), "evaluation": worker.evaluate(x), **worker.state()}
            arrays |= {f"{dtype} after a step, {n}": a for n, a in moved.items()}
    return {n: np.asarray(a).tobytes() for n, a in arrays.items()}


@pytest.mark.parametrize("name", registry.own_names())
def test_settings_of_the_user_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = numbers(name)
    (tmp_path / "keras.json").write_text(json.dumps(KERAS))
    for variable, value in {**HOSTILE, "KERAS_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    assert numbers(name) == wanted
    assert json.loads((tmp_path / "keras.json").read_text()) == KERAS


def test_the_frameworks_settings_are_not_heard_and_the_systems_are() -> None:
    kept = heard(Entry("plug-in", "plug_in"), {**HOSTILE, **KEPT}, launched=False)
    assert kept.pop("XLA_FLAGS").split() == []
    assert kept == KEPT


def test_a_variable_that_a_backend_is_measured_with_may_be_set() -> None:
    entry = registry.find("tensorflow")
    assert heard(entry, {"TF_ENABLE_ONEDNN_OPTS": "0"}, launched=False) == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert heard(registry.find("torch"), {"TF_ENABLE_ONEDNN_OPTS": "0"}, launched=False) == {}


@pytest.mark.parametrize(
    ("theirs", "wanted"), [({}, "--ours"), ({"XLA_FLAGS": ""}, "--ours"), ({"XLA_FLAGS": "--dump"}, "--ours --dump")]
)
def test_xla_keeps_the_flags_that_its_sums_need(theirs: Mapping[str, str], wanted: str) -> None:
    assert tuned({"XLA_FLAGS": "--ours"}, theirs)["XLA_FLAGS"] == wanted


def test_each_worker_has_a_folder_of_its_own_for_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugin_backend"))
    with Worker(Entry("oracle", "vgg_oracle"), env="current") as worker:
        worker.facts()
        variables = Path(f"/proc/{worker._process.pid}/environ").read_text().split("\0")
    homes = [variable.partition("=")[2] for variable in variables if variable.startswith("KERAS_HOME=")]
    assert homes
    assert os.environ.get("KERAS_HOME") not in homes
    assert not Path(homes[0]).exists()
