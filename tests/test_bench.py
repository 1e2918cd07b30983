"""What ``vgg bench`` makes of its seconds; that every contender runs, and is judged, for real."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vgg.bench import contest, results, view, workloads
from vgg.bench.contender import columns
from vgg.cli import main
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"workloads": {"a": 1}}'])
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


@pytest.mark.parametrize("backend", own_names())
def test_every_contender_runs_and_is_right(backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    options = f"--workload vgg11_narrow --batch-size 1 --rounds 1 --json --out {out}".split()
    assert main(["bench", backend, *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    assert [kind for _, _, kind, found in results.contenders(printed) if found["parity"]["ok"]] == list(workloads.KINDS)
    assert printed["ourselves"]["imported"] == []
