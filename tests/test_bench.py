"""What ``vgg bench`` makes of its seconds; that every contender runs, and is judged, for real."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vgg import BackendError, init
from vgg.bench import contest, parity, results, view, workloads
from vgg.bench.contender import columns
from vgg.cli import main
from vgg.compare import compare
from vgg.errors import VGGError
from vgg.registry import Entry, own_names
from vgg.spec import arch

PARITY = {"ok": True, "logits": {"error": 1e-7, "limit": 1e-5, "basis": "", "reason": ""}}


def contender(train: list[float]) -> dict[str, Any]:
    """What is found about one that is right."""
    costs = {"first_step_seconds": 2.0, "ready_seconds": 5.0, "peak_bytes": 10**9}
    return {"train": train, "parity": PARITY, "facts": {"framework": "torch 2"}, **costs}


def result(train: list[float]) -> dict[str, Any]:
    """A whole one in which the textbook takes 4 s a step and the machine does 1e9 FLOP/s."""
    kinds = {"vgg": contender(train), "textbook": contender([4.0, 4.0, 4.0])}
    column = {"contenders": kinds, "ceiling": [{"flops": 1e9, "bytes": 1e9}] * 3}
    about = workloads.about(workloads.find("vgg11_narrow"), batch=2) | {"macs": 10**8}
    return {
        "device": "cpu",
        "precision": "float32",
        "rounds": 3,
        "machine": {"cpu": "slow", "cores": 2},
        "workloads": {"vgg11_narrow": {**about, "backends": {"torch": column}}},
    }


def test_figures_are_medians_with_half_the_range() -> None:
    assert results.measured([1.0, 3.0, 2.0]) == (2.0, 0.5)


def test_a_training_step_counts_as_three_forward_passes_of_two_flops() -> None:
    workload = result([2.0, 2.0, 2.0])["workloads"]["vgg11_narrow"]
    assert results.share(workload, workload["backends"]["torch"], "vgg", "train").value == pytest.approx(0.6)


def test_ratios_are_taken_round_by_round() -> None:
    column = result([1.0, 2.0, 4.0])["workloads"]["vgg11_narrow"]["backends"]["torch"]
    assert results.ratio(column, "textbook", "train") == (2.0, 0.75)


@pytest.mark.parametrize(
    ("seconds", "slower"),
    [([2.1, 2.1, 2.1], True), ([2.04, 2.04, 2.04], False), ([2.0, 2.1, 3.0], False), ([1.0, 1.0, 1.0], False)],
)
def test_a_regression_is_beyond_the_measured_noise(seconds: list[float], slower: bool) -> None:
    assert bool(results.regressions(result([2.0, 2.0, 2.0]), result(seconds))) is slower


@pytest.mark.parametrize("key", ["device", "precision", "machine"])
def test_other_conditions_are_refused(key: str) -> None:
    other = result([2.0, 2.0, 2.0])
    other[key] = {"cpu": "fast", "cores": 2} if key == "machine" else "other"
    with pytest.raises(VGGError, match="got a result of"):
        results.regressions(other, result([2.0, 2.0, 2.0]))


def test_results_with_nothing_in_common_are_refused() -> None:
    other = result([2.0, 2.0, 2.0])
    other["workloads"]["vgg11_narrow"]["batch"] = 3
    with pytest.raises(VGGError, match="nothing in common"):
        results.regressions(other, result([2.0, 2.0, 2.0]))


def test_a_plug_in_has_no_ceiling_on_a_gpu() -> None:
    terms = SimpleNamespace(device="gpu")
    with pytest.raises(VGGError, match="which know its ceiling"):
        contest.contest(Entry("other", "other"), terms, 1, "auto", 1, None)  # type: ignore[arg-type]


def test_one_round_measures_no_noise() -> None:
    once = {**result([2.0]), "rounds": 1}
    with pytest.raises(VGGError, match="wanted 3 or more in both"):
        results.check_conditions(result([2.0, 2.0, 2.0]), once)


def test_what_fails_in_a_round_is_out_and_the_others_go_on() -> None:
    def refuse() -> None:
        raise BackendError("torch: measure: its process was killed")

    played: list[str] = []
    entrants = {"vgg": SimpleNamespace(round=lambda: played.append("vgg")), "zoo": SimpleNamespace(round=refuse)}
    assert contest._played(entrants, 1) == {"zoo": {"error": "torch: measure: its process was killed"}}  # type: ignore[arg-type]
    assert (played, list(entrants)) == (["vgg"], ["vgg"])


def test_the_oracle_takes_a_batch_in_slices_to_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = arch("vgg11", narrow=16, input_shape=(1, 32, 32), hidden=(8,), classes=4)
    small = replace(workloads.find("vgg11_narrow"), spec=spec)
    params, plan = init(spec, 0, "he_normal"), workloads.recipe(5, "float32")
    whole = parity.truth(small, params, plan)
    monkeypatch.setattr(parity, "TOGETHER", 2)
    parts = parity.truth(small, params, plan)
    assert compare(parts.gradients, whole.gradients, limit=1e-13).ok
    assert compare(parts.logits, whole.logits, limit=1e-13).ok


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_limits_leave_no_room_for_another_networks_logits(precision: str) -> None:
    spec = arch("vgg11", narrow=16, input_shape=(1, 32, 32), hidden=(8,), classes=4)
    small = replace(workloads.find("vgg11_narrow"), spec=spec)
    known = parity.truth(small, init(spec, 0, "he_normal"), workloads.recipe(4, precision))
    other = parity.truth(small, init(spec, 1, "he_normal"), workloads.recipe(4, precision))
    assert not compare(other.logits, known.logits, limit=known.limits[0]).ok


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"workloads": {"a": 1}}', '{"workloads": {}}'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(text)
    assert main(["bench", "--compare", str(tmp_path / "old.json")]) == 2
    assert "not a result of vgg bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--workload", "vgg12"], "unknown workload"),
        (["--device", "auto"], "wanted cpu or gpu"),
        (["--out", __file__.removesuffix(".py")], "a file that is there"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_timed(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    taken = tmp_path / "taken.json"
    taken.touch()
    wrong = [str(taken) if part == __file__.removesuffix(".py") else part for part in wrong]
    assert main(["bench", *wrong]) == 2
    assert said in capsys.readouterr().err


def test_wrong_numbers_show_beside_the_time() -> None:
    found = copy.deepcopy(result([2.0, 2.0, 2.0]))
    kinds = found["workloads"]["vgg11_narrow"]["backends"]["torch"]["contenders"]
    kinds["vgg"]["parity"] = {"ok": False, "logits": {"error": 1.0, "limit": 1e-5, "reason": "logits: far off"}}
    kinds["textbook"]["parity"] = {**PARITY, "ok": False}
    row = view.tables(found)[0].rows[0]
    assert row[3:] == ["2.00 ± 0% (WRONG)", "-", "WRONG: logits: far off"]
    assert not results.ok(found)


@pytest.mark.parametrize("name", ["vgg11_bn", "vgg11_lrn", "alexnet", "vgg16_1x1"])
def test_what_no_zoo_has_is_refused(name: str) -> None:
    with pytest.raises(VGGError, match="zoo"):
        columns(arch(name))


@pytest.mark.parametrize("workload", ["pipeline", pytest.param("vgg11_narrow", marks=pytest.mark.witness)])
@pytest.mark.parametrize("backend", own_names())
def test_every_contender_runs_and_is_right(
    backend: str, workload: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    options = f"--workload {workload} --batch-size 2 --rounds 1 --json --out {out}".split()
    assert main(["bench", backend, *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    right = [kind for _, _, kind, found in results.contenders(printed) if found["parity"]["ok"]]
    assert right == list(workloads.find(workload).kinds)
