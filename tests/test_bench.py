"""What ``vgg bench`` runs, and what it judges, for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vgg import BackendError, init
from vgg.cli import main
from vgg.core import oracle
from vgg.core.architectures import arch
from vgg.core.comparator import compare
from vgg.core.errors import VGGError
from vgg.process.registry import Entry, own_names
from vgg.timing import contender, contest, parity, results, run, workloads
from vgg.timing.conditions import Conditions
from vgg.timing.contender import columns


def test_a_plug_in_has_no_ceiling_on_a_gpu() -> None:
    terms = SimpleNamespace(device="gpu")
    with pytest.raises(VGGError, match="which know its ceiling"):
        contest.contest(Entry("other", "other"), terms, Conditions("gpu"), None)  # type: ignore[arg-type]


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


def test_a_large_batch_is_a_few_images_several_times_and_the_oracle_takes_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = arch("vgg11", narrow=16, input_shape=(1, 32, 32), hidden=(8,), classes=4)
    small = replace(workloads.find("vgg11_narrow"), spec=spec)
    params, plan = init(spec, 0, "he_normal"), workloads.recipe(64, "float32")
    x, y = contender.prepared(spec, plan, small.images(64)[:64]), small.labels(64)[:64]
    mode = oracle.Mode(train=True, masks=contender.masks_of(spec, 64, plan.seed))
    _, grads, _ = oracle.loss_and_grads(spec, params, x, y, mode)
    assert len(np.unique(x, axis=0)) == 32
    monkeypatch.setattr(parity, "TOGETHER", 32)
    known = parity.truth(small, params, plan)
    assert compare(known.gradients, grads, limit=1e-13).ok
    assert compare(known.logits, {"logits": oracle.forward(spec, params, x).logits}, limit=1e-13).ok


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_limits_leave_no_room_for_another_networks_logits(precision: str) -> None:
    spec = arch("vgg11", narrow=16, input_shape=(1, 32, 32), hidden=(8,), classes=4)
    small = replace(workloads.find("vgg11_narrow"), spec=spec)
    known = parity.truth(small, init(spec, 0, "he_normal"), workloads.recipe(4, precision))
    other = parity.truth(small, init(spec, 1, "he_normal"), workloads.recipe(4, precision))
    assert not compare(other.logits, known.logits, limit=known.limits[0]).ok


class Answering(SimpleNamespace):
    """A worker that gives these answers."""

    def call(self, job: str) -> tuple[None, dict[str, Any]]:
        return None, self.answers


@pytest.fixture(scope="module")
def known() -> parity.Truth:
    """The oracle's answers for a small network."""
    spec = arch("vgg11", narrow=16, input_shape=(1, 32, 32), hidden=(8,), classes=4)
    small = replace(workloads.find("vgg11_narrow"), spec=spec)
    return parity.truth(small, init(spec, 0, "he_normal"), workloads.recipe(4, "float32"))


@pytest.mark.parametrize(
    ("logits", "scale", "wrong"),
    [
        (slice(None), 1.0, []),
        (slice(None, None, -1), 1.0, ["logits"]),
        (slice(None), 1.1, ["gradients"]),
        (slice(None), None, []),
    ],
)
def test_wrong_answers_are_judged_so(known: parity.Truth, logits: slice, scale: float | None, wrong: list[str]) -> None:
    gradients = {f"gradient/{name}": scale * grad for name, grad in known.gradients.items() if scale}
    answers = {"logits": known.logits["logits"][:, logits], **gradients}
    verdict = parity.judged(Answering(answers=answers), known)  # type: ignore[arg-type]
    assert ("gradients" in verdict) is (scale is not None)
    assert [what for what in verdict if what != "ok" and verdict[what]["reason"]] == wrong
    assert verdict["ok"] is not bool(wrong)


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


def test_several_batch_sizes_have_keys_of_their_own() -> None:
    told = run.planned(["torch"], ["vgg16", "pipeline"], Conditions("gpu", "bf16", rounds=3))
    assert {key: workload["batch"] for key, workload in told["workloads"].items()} == {
        "vgg16-64": 64,
        "vgg16-256": 256,
        "pipeline": 1024,
    }


@pytest.mark.parametrize("name", ["vgg11_bn", "vgg11_lrn", "alexnet", "vgg16_1x1"])
def test_what_no_zoo_has_is_refused(name: str) -> None:
    with pytest.raises(VGGError, match="zoo"):
        columns(arch(name))


@pytest.mark.parametrize("workload", ["pipeline", pytest.param("vgg11_narrow", marks=pytest.mark.witness)])
@pytest.mark.parametrize("backend", own_names())
def test_every_contender_runs_and_is_right(
    backend: str,
    workload: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contest, "SECONDS", 0.01)
    out = tmp_path / "bench.json"
    options = f"--workload {workload} --batch-size 2 --rounds 1 --json --out {out}".split()
    assert main(["bench", backend, *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    right = [kind for _, _, kind, found in results.contenders(printed) if found["parity"]["ok"]]
    assert right == list(workloads.find(workload).kinds)
    contenders = printed["workloads"][workload]["backends"][backend]["contenders"]
    assert [kind for kind, found in contenders.items() if "gradients" in found["parity"]] == ["vgg"]
    assert all(found["counts"].keys() == found.keys() & {"train", "infer"} for found in contenders.values())
