"""The suite. A test is one cell of the matrix: a check, a case, a backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from vgg import load_params, save_params
from vgg.client import Worker
from vgg.conformance import checks
from vgg.conformance.cases import CASES, STRUCTURES, TRAJECTORIES
from vgg.conformance.plugin import KEY, Record

DTYPES = ("float64", "float32")
MODES = {"eval": False, "train": True}


@pytest.mark.parametrize("case", STRUCTURES)
def test_structure(worker: Worker, record: Record, case: str) -> None:
    record(checks.structure(worker, STRUCTURES[case]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_forward(worker: Worker, record: Record, case: str, dtype: str, mode: str) -> None:
    record(checks.forward(worker, CASES[case], dtype, MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_backward(worker: Worker, record: Record, case: str, dtype: str, mode: str) -> None:
    record(checks.backward(worker, CASES[case], dtype, MODES[mode]))


@pytest.mark.parametrize("case", TRAJECTORIES)
def test_trajectory(worker: Worker, record: Record, case: str) -> None:
    record(checks.trajectory(worker, TRAJECTORIES[case]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["plain", "batch_norm", "global_pool"])
def test_round_trip(worker: Worker, record: Record, case: str, dtype: str) -> None:
    record(checks.round_trip(worker, CASES[case], dtype))


@pytest.mark.parametrize("case", ["plain", "single"])
def test_modes(worker: Worker, record: Record, case: str) -> None:
    record(checks.modes(worker, CASES[case]))


@pytest.mark.parametrize("case", ["plain", "batch_norm"])
def test_repeatable(worker: Worker, record: Record, case: str) -> None:
    record(checks.repeatable(worker, CASES[case]))


@pytest.mark.parametrize("source", ["torch", "tensorflow", "jax", "mxnet"])
def test_exchange(request: pytest.FixtureRequest, worker: Worker, record: Record, source: str, tmp_path: Path) -> None:
    """A file written from ``source`` gives this backend the logits that it gave ``source``."""
    case = CASES["batch_norm"]
    giver = request.config.stash[KEY].worker(source)
    giver.build(case.spec, case.params("float64"), dtype="float64")
    logits = {"logits": giver.forward(case.images("float64"))}
    save_params(tmp_path / "weights.safetensors", giver.dump(), case.spec)
    record(checks.exchange(logits, worker, case, load_params(tmp_path / "weights.safetensors")))
