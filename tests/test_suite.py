"""The suite as a product: backends that misbehave, known failures, specs of one's own, and what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import Check

from vgg.backends import VELOCITY
from vgg.conformance import cases, checks, declared, run
from vgg.conformance.board import Board, threads
from vgg.core import oracle

FORWARD, BACKWARD = "forward plain float64 eval", "backward plain float64 eval"
REASONS = {
    "raises": "ValueError: no kernel for this shape",
    "exits": "called sys.exit(7)",
    "hangs": "no sign of life for 3 s",
    "killed": "was killed by SIGKILL",
    "crashes": "was killed by SIGSEGV",
    "aborts": "driver: out of memory",
    "garbles": "not a message",
    "not finite": "values are not finite",
    "nothing": "got NoneType, wanted a NumPy array of numbers",
    "a list": "got list, wanted a NumPy array of numbers",
    "objects": "got an array of object, wanted a NumPy array of numbers",
    "too short": "got shape (3, 5), wanted (3, 6)",
    "half": "got float16, wanted float64",
    "signature": "unexpected keyword argument 'train'",
    "prints": "'... on standard output, wanted nothing",
    "prints in C": "got 'progress' on standard output, wanted nothing",
    "prints and raises": "ValueError: no kernel for this shape",
    "keys": "missing ['block1.conv1'], unexpected ['conv0']",
}
EVERYWHERE = {
    "incomplete": "no trace, learner",
    "import": "libframework.so: cannot open",
    "no facts": "got no framework, versions, devices, flags",
}


def test_tests_that_are_asked_for_alone_pass_without_the_suite(tmp_path: Path) -> None:
    """A session that has begun the suite and judges nothing fails, as it should."""
    for name in ("conftest.py", "test_conformance.py"):
        (tmp_path / name).write_bytes(Path(__file__).with_name(name).read_bytes())
    (tmp_path / "test_marked.py").write_text("import pytest\n\n\n@pytest.mark.browser\ndef test_page(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-m", "browser"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("fault", REASONS)
def test_a_fault_makes_its_cell_red_and_no_other(check: Check, fault: str) -> None:
    timeout = "3" if fault == "hangs" else "60"
    status, result, _ = check("faulty", "-k", "plain-float64-eval", "--timeout", timeout, fault=fault)
    assert status == 1
    assert REASONS[fault] in result["checks"][FORWARD]["faulty"]["reason"]
    assert {name: row["faulty"]["outcome"] for name, row in result["checks"].items()} == {
        FORWARD: "failed",
        BACKWARD: "passed",
    }


@pytest.mark.parametrize("fault", EVERYWHERE)
def test_a_module_that_is_no_backend_makes_all_its_cells_red(check: Check, fault: str) -> None:
    status, result, _ = check("faulty", "oracle", "-k", "plain-float64-eval", fault=fault)
    assert status == 1
    assert all(EVERYWHERE[fault] in row["faulty"]["reason"] for row in result["checks"].values())
    assert all(row["oracle"]["outcome"] == "passed" for row in result["checks"].values())


def test_a_backend_that_dies_again_and_again_is_given_up(check: Check) -> None:
    _, result, _ = check("faulty", "-k", "forward", fault="killed")
    reasons = [row["faulty"]["reason"] for row in result["checks"].values()]
    assert ["given up" in reason for reason in reasons] == [False] * 3 + [True] * (len(reasons) - 3)


def test_a_failure_says_where_how_much_why_that_much_and_how_to_see_it_again(check: Check) -> None:
    _, _, printed = check("faulty", "-k", "plain-float32-eval", fault="off")
    for part in (
        "logits of forward(): error 1.0e-03 is over its limit 1.9e-05",
        "limit 1.9e-05, 159 ulp of float32: 5 roundoffs of float32",
        "-k 'faulty-forward-plain-float32-eval]'\n",
    ):
        assert part in printed


def test_the_command_that_a_failure_names_runs_that_cell_alone(check: Check) -> None:
    _, result, _ = check("oracle", "oracle", "-k", "oracle-structure-vgg11]")
    assert list(result["checks"]) == ["structure vgg11"]


def test_declared_differences_are_facts(check: Check) -> None:
    status, result, printed = check("oracle", "-k", "declared")
    assert status == 0
    assert result["declared"]["ties"]["oracle"] == {"text": "first", "size": 0.0, "wrong": "", "known": False}
    assert "declared differences" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vgg-backend", "torhc"], "unknown backend 'torhc': did you mean torch?"),
        (["--vgg-spec", "missing.toml"], "missing.toml: cannot be read as a spec"),
        (["--vgg-json", "nowhere/found.json"], "wanted a file in a folder that can be written"),
        (["--vgg-known", "missing.toml", "-n", "2"], "missing.toml: cannot be read as known failures"),
    ],
)
def test_pytest_refuses_what_it_does_not_know_before_it_collects(
    options: list[str], message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "--pyargs", "vgg.conformance", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "part", "size"),
    [("first", (1, 4), 0), ("last", (2, 3), 2 / 17), ("shared", (1.5, 3.5), 0.5 / 17), ("both", (3, 7), 13 / 17)],
)
def test_whatever_is_done_with_ties_has_a_size(kind: str, part: tuple[float, float], size: float) -> None:
    class Tied:
        def build(self, spec: Any, params: Any, dtype: str) -> None:
            self.spec, self.params = spec, params

        def loss_and_grads(self, x: Any, y: Any) -> Any:
            loss, grads, _ = oracle.loss_and_grads(self.spec, self.params, x, y)
            name = "block1.conv1.weight"
            return loss, {name: (grads[name].ravel() / (1, 4) * part).reshape(1, 2, 1, 1)}

    found = declared.ties(cast("Any", Tied()))
    assert (found.text, found.wrong) == (kind, "")
    assert found.size**2 == pytest.approx(size)


def test_a_checkout_that_is_not_installed_can_check(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    status, _, printed = check("oracle", "-k", "plain-float64-eval")
    assert status == 0, printed


@pytest.mark.usefixtures("check")
def test_under_xdist_the_matrix_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "2", "--pyargs", "vgg.conformance", "--backend", "oracle"]
    asked = ["-k", "plain-float64-eval or declared", "--vgg-json", "found.json"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert all(re.search(rf"^{row} .*\d", done.stdout, re.MULTILINE) for row in (FORWARD, BACKWARD, "time", "lrn"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["ok"]
    assert list(found["checks"]) == [FORWARD, BACKWARD]
    assert list(found["declared"]) == list(declared.FACTS)
    assert found["judged"]["oracle"][0] == 2 + len(declared.FACTS)


@pytest.mark.parametrize(("place", "noise", "ok"), [("gpu", 1e-6, True), ("gpu", 1e-3, False), ("cpu", 1e-16, False)])
def test_only_a_gpu_may_round_otherwise_each_time(place: str, noise: float, ok: bool) -> None:
    """A bias before a batch norm has a gradient of nothing but rounding."""
    worker: Any = SimpleNamespace(place=lambda _: place)
    wanted = {f"{VELOCITY}conv1.weight": np.ones((3, 2)), f"{VELOCITY}conv1.bias": np.array([noise, -noise, noise])}
    got = {**wanted, f"{VELOCITY}conv1.bias": np.array([-noise, noise, noise])}
    assert checks.alike(worker, cases.CASES["batch_norm"], got, wanted).ok is ok


def test_junit_tells_errors_limits_and_facts(check: Check, tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    status, _, _ = check("faulty", "-k", "plain-float64-eval or declared", "--junit", str(path), fault="off")
    suite = ET.parse(path).getroot()[0]
    told = {case.attrib["name"]: {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")} for case in suite}
    failed = {case.attrib["name"] for case in suite if case.find("failure") is not None}
    forward, fact = "test_conformance[faulty-forward-plain-float64-eval]", "test_declared[faulty-lrn]"
    assert (status, forward in failed, fact in failed) == (1, True, False)
    assert float(told[forward]["error"]) > float(told[forward]["limit"]) == 1e-12
    assert told[fact]["text"] == "undivided"
    assert float(told[fact]["size"]) < 1e-12


# Specs of one's own


def test_a_spec_file_is_judged_alone(check: Check, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nblocks = [[1, 4]]\ninput_shape = [1, 6, 8]\nclasses = 3\nhead = {hidden = [5]}\n')
    status, result, _ = check("oracle", "--spec", str(path))
    assert status == 0
    assert {name.split()[0] for name in result["checks"]} == {"forward", "backward", "switches", "code"}
    assert all(" given mine" in name for name in result["checks"])


def test_a_spec_file_that_is_none_is_refused(check: Check) -> None:
    status, _, printed = check("oracle", "--spec", "missing.toml")
    assert status == 2
    assert "missing.toml: cannot be read as a spec" in printed


# Several backends at a time


def test_backends_side_by_side_are_judged_as_one_after_the_other(check: Check, tmp_path: Path) -> None:
    path, asked = tmp_path / "report.xml", ("-k", "claims or forward-plain-float32-eval or lrn")
    status, result, printed = check("faulty", "oracle", "modest", "--jobs", "2", *asked, "--junit", str(path))
    alone = check("faulty", "oracle", "modest", "--jobs", "1", *asked)
    assert (status, alone[0]) == (0, 0), printed
    assert list(result["judged"]) == ["faulty", "oracle", "modest"]
    assert {check: list(row) for check, row in result["checks"].items()} == {
        check: list(row) for check, row in alone[1]["checks"].items()
    }
    assert printed.splitlines()[-3:] == alone[2].splitlines()[-3:]
    rows = [*result["checks"].values(), *result["declared"].values()]
    assert len(ET.parse(path).getroot()[0]) == sum(map(len, rows))


@pytest.fixture
def unthreaded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A patch with no variable of threads in the environment."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("unthreaded")
def test_backends_side_by_side_share_the_cores() -> None:
    each = max(1, len(os.sched_getaffinity(0)) // 2)
    assert threads(1) == {}
    assert set(threads(2).values()) == {str(each)}


def test_threads_that_a_user_has_set_stay(unthreaded: pytest.MonkeyPatch) -> None:
    unthreaded.setenv("OMP_NUM_THREADS", "3")
    assert set(threads(2)) == {"OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"}


def test_processes_side_by_side_start_with_their_share_of_the_cores(unthreaded: pytest.MonkeyPatch) -> None:
    wanted, seen = threads(2), dict[str, str]()
    unthreaded.setattr(pytest, "main", lambda *_, **__: seen.update(os.environ) or pytest.ExitCode.OK)
    run.run([], jobs=2)
    assert wanted.items() <= seen.items()
    assert not wanted.keys() & os.environ.keys()


def test_workers_of_a_users_own_xdist_start_with_theirs(unthreaded: pytest.MonkeyPatch) -> None:
    unthreaded.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    unthreaded.setattr("vgg.process.client.Worker", lambda _, **options: options)
    started = cast("dict[str, dict[str, str]]", Board(["torch"]).start("torch"))
    assert threads(2).items() <= started["variables"].items()


@pytest.mark.parametrize(("thorough", "hasty"), [(False, "float64,float32"), (True, "float64")])
def test_thorough_compiles_learners_in_float32_as_any_other_use_does(
    thorough: bool, hasty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg.process.client.Worker", lambda _, **options: options)
    started = cast("dict[str, dict[str, str]]", Board(["torch"], thorough=thorough).start("torch"))
    assert started["variables"]["VGG_HASTY"] == hasty


def test_a_fault_of_one_backend_side_by_side_is_its_own(check: Check) -> None:
    asked = ("-k", "forward-plain-float32-eval")
    status, result, _ = check("oracle", "faulty", "--jobs", "2", *asked, fault="off")
    outcomes = {name: cell["outcome"] for name, cell in result["checks"]["forward plain float32 eval"].items()}
    assert (status, outcomes) == (1, {"oracle": "passed", "faulty": "failed"})
