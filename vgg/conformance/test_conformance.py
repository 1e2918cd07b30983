"""The suite. A test is one cell of the matrix: a check, a case, a backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from vgg import load_params, save_params
from vgg.client import Worker
from vgg.conformance import checks
from vgg.conformance.cases import CASES, DROPOUTS, STRUCTURES, TRAJECTORIES
from vgg.conformance.plugin import KEY, Record

DTYPES = ("float64", "float32")
MODES = {"eval": False, "train": True}


@pytest.mark.parametrize("case", STRUCTURES)
def test_structure(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.structure(vgg_worker, STRUCTURES[case]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_forward(vgg_worker: Worker, vgg_record: Record, case: str, dtype: str, mode: str) -> None:
    vgg_record(checks.forward(vgg_worker, CASES[case], dtype, MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_backward(vgg_worker: Worker, vgg_record: Record, case: str, dtype: str, mode: str) -> None:
    vgg_record(checks.backward(vgg_worker, CASES[case], dtype, MODES[mode]))


@pytest.mark.parametrize("case", TRAJECTORIES)
def test_trajectory(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.trajectory(vgg_worker, TRAJECTORIES[case]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ["plain", "batch_norm", "global_pool"])
def test_round_trip(vgg_worker: Worker, vgg_record: Record, case: str, dtype: str) -> None:
    vgg_record(checks.round_trip(vgg_worker, CASES[case], dtype))


@pytest.mark.parametrize("case", DROPOUTS)
def test_modes(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.modes(vgg_worker, DROPOUTS[case]))


@pytest.mark.parametrize("case", TRAJECTORIES)
def test_learning(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.learning(vgg_worker, TRAJECTORIES[case]))


@pytest.mark.parametrize("case", ["plain", "batch_norm"])
def test_resuming(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.resuming(vgg_worker, CASES[case]))


@pytest.mark.parametrize("case", ["plain", "batch_norm"])
def test_repeatable(vgg_worker: Worker, vgg_record: Record, case: str) -> None:
    vgg_record(checks.repeatable(vgg_worker, CASES[case]))


@pytest.mark.parametrize("source", ["torch", "tensorflow", "jax", "mxnet"])
def test_exchange(
    request: pytest.FixtureRequest, vgg_worker: Worker, vgg_record: Record, source: str, tmp_path: Path
) -> None:
    """A file written from ``source`` gives this backend the logits that it gave ``source``."""
    case = CASES["batch_norm"]
    giver = request.config.stash[KEY].worker(source)
    giver.build(case.spec, case.params("float64"), dtype="float64")
    logits = {"logits": giver.forward(case.images("float64"))}
    save_params(tmp_path / "weights.safetensors", giver.dump(), case.spec)
    vgg_record(checks.exchange(logits, vgg_worker, case, load_params(tmp_path / "weights.safetensors")))
