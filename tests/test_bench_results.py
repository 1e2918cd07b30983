"""What ``vgg bench`` makes of its seconds: figures, tables, plot, regressions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import plot
import pytest

from vgg.cli import main
from vgg.core.errors import VGGError
from vgg.report import timings
from vgg.timing import parity, results, run, workloads

PARITY = {"ok": True, "logits": {"error": 1e-7, "limit": 1e-5, "basis": "", "reason": ""}}


def contender(train: list[float]) -> dict[str, Any]:
    """What is found about one that is right."""
    costs = {"first_step_seconds": 2.0, "ready_seconds": 5.0, "peak_bytes": 10**9}
    return {"train": train, "parity": PARITY, "facts": {"framework": "torch 2"}, **costs}


def result(train: list[float]) -> dict[str, Any]:
    """A whole one in which the textbook takes 4 s a step and the machine does 1e9 FLOP/s and copies 2e9 bytes/s."""
    kinds = {"vgg": contender(train), "textbook": contender([4.0, 4.0, 4.0])}
    column = {"contenders": kinds, "ceiling": [{"flops": 1e9, "bytes": 2e9}] * 3}
    about = workloads.about(workloads.find("vgg11_narrow"), batch=2) | {"macs": 10**8}
    return {
        "date": "2026-01-02",
        "vgg": "0.1.0",
        "ok": True,
        "device": "cpu",
        "precision": "float32",
        "rounds": 3,
        "machine": {"system": "Linux", "cpu": "slow", "cores": 2},
        "workloads": {"vgg11_narrow": {**about, "backends": {"torch": column}}},
    }


def test_figures_are_medians_with_half_the_range() -> None:
    assert results.measured([1.0, 3.0, 2.0]) == (2.0, 0.5)


def test_a_training_step_counts_as_three_forward_passes_of_two_flops() -> None:
    workload = result([2.0, 2.0, 2.0])["workloads"]["vgg11_narrow"]
    assert results.share(workload, workload["backends"]["torch"], "vgg", "train").value == pytest.approx(0.6)


def test_a_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    column = result([1.0, 2.0, 4.0])["workloads"]["vgg11_narrow"]["backends"]["torch"]
    column["contenders"]["textbook"] = contender([4.0, 6.0, 2.0])
    found = results.ratio(column, "textbook", "train")
    assert found
    assert found.value == 2
    assert found.spread == pytest.approx(3.5 / 2 / 3)


@pytest.mark.parametrize(
    ("seconds", "slower"),
    [([2.1, 2.1, 2.1], True), ([2.04, 2.04, 2.04], False), ([2.0, 2.1, 3.0], False), ([1.0, 1.0, 1.0], False)],
)
def test_a_regression_is_beyond_the_measured_noise(seconds: list[float], slower: bool) -> None:
    assert bool(results.regressions(result([2.0, 2.0, 2.0]), result(seconds))) is slower


@pytest.mark.parametrize(("on_gpu", "shown"), [(0, "1.00 GB"), (3 * 10**9, "3.00 GB")])
def test_peak_memory_is_the_gpus_where_the_framework_tells_it(on_gpu: int, shown: str) -> None:
    found = result([2.0, 2.0, 2.0])
    found["workloads"]["vgg11_narrow"]["backends"]["torch"]["contenders"]["vgg"]["gpu_peak_bytes"] = on_gpu
    costs = next(table for table in timings.tables(found) if table.title.endswith("start and memory"))
    assert costs.rows[0][costs.columns.index("peak memory, vgg / zoo / textbook")].split(" / ")[0] == shown


@pytest.mark.parametrize("key", ["device", "precision", "machine"])
def test_other_conditions_are_refused(key: str) -> None:
    other = result([2.0, 2.0, 2.0])
    other[key] = {"cpu": "fast", "cores": 2} if key == "machine" else "other"
    with pytest.raises(VGGError, match="got a result of"):
        results.regressions(other, result([2.0, 2.0, 2.0]))


@pytest.mark.parametrize("rounds", [5, 9, 33])
def test_more_rounds_find_a_smaller_regression(rounds: int) -> None:
    noisy = [2.0 * (1 + 0.1 * (n % 5 - 2) / 2) for n in range(rounds)]
    was, now = ({**result(seconds), "rounds": rounds} for seconds in (noisy, [1.12 * s for s in noisy]))
    for found in (was, now):
        column = found["workloads"]["vgg11_narrow"]["backends"]["torch"]
        column["ceiling"] = column["ceiling"][:1] * rounds
    assert bool(results.regressions(was, now)) is (rounds == 33)


@pytest.mark.parametrize("key", ["batch", "spec", "name", "backends", "parity"])
def test_results_with_nothing_in_common_are_refused(key: str) -> None:
    other = result([2.0, 2.0, 2.0])
    workload = other["workloads"]["vgg11_narrow"]
    if key == "name":
        other["workloads"] = {"vgg11_narrow-2": workload}
    elif key == "parity":
        workload["backends"]["torch"]["contenders"]["vgg"]["parity"] = {**PARITY, "ok": False}
    else:
        workload[key] = {"batch": 3, "spec": {}, "backends": {"jax": workload["backends"]["torch"]}}[key]
    with pytest.raises(VGGError, match="nothing in common"):
        results.regressions(other, result([2.0, 2.0, 2.0]))


def test_one_round_measures_no_noise() -> None:
    once = {**result([2.0]), "rounds": 1}
    with pytest.raises(VGGError, match="wanted 3 or more in both"):
        results.check_comparable(result([2.0, 2.0, 2.0]), once)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted a JSON object"),
        ("[]", "wanted a JSON object"),
        ("{}", "old.json: date: got nothing, wanted what vgg writes there; "),
        ('{"date": "today", "vgg": "0.1.0", "machine": 5}', "old.json: machine: got 5, wanted a table; "),
    ],
)
def test_what_is_no_result_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.json").write_text(text)
    assert main(["bench", "--compare", str(tmp_path / "old.json")]) == 2
    assert message in capsys.readouterr().err


def test_wrong_numbers_show_beside_the_time() -> None:
    found = copy.deepcopy(result([2.0, 2.0, 2.0]))
    kinds = found["workloads"]["vgg11_narrow"]["backends"]["torch"]["contenders"]
    kinds["vgg"]["parity"] = {"ok": False, "logits": {"error": 1.0, "limit": 1e-5, "reason": "logits: far off"}}
    kinds["textbook"]["parity"] = {**PARITY, "ok": False}
    row = timings.tables(found)[0].rows[0]
    assert row[3:] == ["2.00 ± 0% (WRONG)", "-", "WRONG: logits: far off"]
    assert not results.ok(found)
    assert results.failures(found)[0] == "vgg11_narrow torch vgg failed: logits: far off"


def test_what_is_wrong_enters_neither_aggregates_nor_plot() -> None:
    found = result([2.0, 2.0, 2.0])
    backends = found["workloads"]["vgg11_narrow"]["backends"]
    overall, drawn = timings.tables(found)[1], plot.svg(found)
    wrong = backends["jax"] = copy.deepcopy(backends["torch"])
    for kind in wrong["contenders"].values():
        kind["parity"] = {**PARITY, "ok": False}
        kind["train"] = [1.0, 1.0, 1.0]
    assert timings.tables(found)[1] == overall
    assert plot.svg(found) == drawn


def test_failures_show_where_all_have_failed() -> None:
    found = result([2.0, 2.0, 2.0])
    column = found["workloads"]["vgg11_narrow"]["backends"]["torch"]
    column.update(contenders={kind: {"error": f"{kind} broke\n  | why"} for kind in workloads.KINDS}, ceiling=[])
    speed, ceiling, costs = timings.tables(found)
    assert speed.rows == [["torch", "failed: vgg broke", "", "", "", ""]]
    assert ceiling.rows == [["torch", "-", "-"]]
    assert costs.rows == [["torch", *["failed / failed / failed"] * 3, ""]]


def test_the_ceiling_has_a_table_where_products_count() -> None:
    found = result([2.0, 2.0, 2.0])
    assert timings.tables(found)[2].rows == [["torch", "1 ± 0%", "2 ± 0%"]]
    found["workloads"]["vgg11_narrow"]["macs"] = 10
    assert not any("ceiling" in word for table in timings.tables(found) for word in (table.title, *table.columns))


def test_what_fails_in_ourselves_is_a_failure() -> None:
    found = result([2.0, 2.0, 2.0])
    assert results.ok(found)
    found["ourselves"] = {"seam": {"jax": {"error": "broke"}, "torch": 0.01}, "imported": ["torch"]}
    assert results.failures(found) == ["ourselves jax failed: broke", "ourselves failed: vgg show imports torch"]
    assert not results.ok(found)


class Pretended(SimpleNamespace):
    """Seconds of a step; how often it was timed."""


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """``vgg bench`` with a contest that takes the seconds it is told."""
    found = Pretended(seconds=2.0, times=0)

    def contest(*_: object) -> dict[str, Any]:
        found.times += 1
        return copy.deepcopy(result([found.seconds] * 3)["workloads"]["vgg11_narrow"]["backends"]["torch"])

    monkeypatch.setattr(run, "contest", contest)
    monkeypatch.setattr(parity, "truth", lambda *_: None)
    return found


BENCH = ("bench", "torch", "--workload", "pipeline", "--rounds", "3", "--json")


@pytest.mark.parametrize(("seconds", "status"), [(2.5, 1), (2.0, 0)])
def test_compare_tells_a_regression(
    seconds: float, status: int, pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    assert main([*BENCH, "--out", str(old)]) == 0
    pretended.seconds = seconds
    capsys.readouterr()
    assert main([*BENCH, "--out", str(new), "--compare", str(old)]) == status
    told = capsys.readouterr()
    printed = json.loads(told.out)
    assert printed == json.loads(new.read_text())
    assert len(printed["regressions"]) == status
    assert ("slower: pipeline batch 32 torch train" in told.err) is bool(status)


@pytest.mark.parametrize("wrong", [["--batch-size", "3"], ["--workload", "vgg16"], ["--precision", "bf16"]])
def test_compare_refuses_before_anything_is_timed(wrong: list[str], pretended: Pretended, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    assert main([*BENCH, "--out", str(old)]) == 0
    other = [part for part in BENCH if part not in ("--workload", "pipeline")] if "--workload" in wrong else BENCH
    assert main([*other, *wrong, "--out", str(tmp_path / "new.json"), "--compare", str(old)]) == 2
    assert pretended.times == 1


@pytest.mark.parametrize("key", ["device", "precision", "rounds", "machine", "spec", "batch", "macs", "backends"])
def test_a_result_that_lacks_something_is_none(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result([2.0, 2.0, 2.0])
    (found if key in found else found["workloads"]["vgg11_narrow"]).pop(key)
    (tmp_path / "old.json").write_text(json.dumps(found))
    assert main(["bench", "--compare", str(tmp_path / "old.json")]) == 2
    assert f"{key}: got nothing, wanted " in capsys.readouterr().err
