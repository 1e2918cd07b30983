"""A verdict is not green by accident: what was not judged counts for nothing, whatever surrounds the suite."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import Check

from vgg import VGGError, outputs
from vgg.backends import DTYPES
from vgg.compare import EXACT, Verdict
from vgg.conformance.board import Board
from vgg.conformance.declared import FACTS, Fact
from vgg.conformance.suite import cells

FORWARD, BACKWARD = "forward plain float64 eval", "backward plain float64 eval"
SOURCE = """
from vgg import registry
registry._OWN["torch"] = registry.Entry("torch", "faulty_backend")
"""
"""Puts the faulty backend in the place of torch, in the parent."""
EVIL = """
import pytest
def pytest_collection_modifyitems(items):
    items[:] = []
def pytest_runtest_setup(item):
    pytest.skip("not today")
"""
SKIPS = """
import pytest
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    for item in items[1:]:
        item.add_marker(pytest.mark.skip(reason="not today"))
"""
DROPS = """
import pytest
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    del items[1:]
"""


# What was not judged


@pytest.mark.parametrize(
    ("fault", "given"),
    [("import", "exchange"), ("off", "exchange"), ("raises", "exchange"), ("no steps", "relay")],
)
def test_what_another_backend_hands_over_badly_is_held_against_nobody_and_is_no_pass(
    check: Check, tmp_path: Path, fault: str, given: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SOURCE)
    name = f"{given} torch" if given == "relay" else f"{given} torch float64"
    status, result, printed = check("oracle", "-k", f"{name.replace(' ', '-')} or claims", fault=fault)
    cell = result["checks"][name]["oracle"]
    assert (status, result["ok"], cell["outcome"]) == (1, False, "not judged")
    assert cell["reason"].startswith("torch had nothing sound to hand over: ")
    assert "over: torch: " not in cell["reason"]
    assert result["judged"]["oracle"][0] == 1
    assert "NOT JUDGED" in printed
    assert f"{name}: oracle was not judged: torch had nothing sound to hand over: " in printed


def test_what_was_not_judged_for_a_known_reason_is_forgiven_and_still_not_judged(check: Check, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SOURCE)
    (tmp_path / "known.toml").write_text(
        '[[known]]\nid = "exchange torch *"\nmatch = "nothing sound"\nreason = "no torch here"\nlink = "none"\n'
    )
    asked = ("-k", "exchange-torch or claims", "--known", str(tmp_path / "known.toml"))
    status, result, printed = check("oracle", *asked, fault="import")
    assert (status, result["ok"]) == (0, True)
    assert result["judged"]["oracle"][0] == 1
    assert "exchange torch float32: oracle was not judged: torch had nothing sound to hand over" in printed


def test_nothing_judged_is_not_ok(check: Check) -> None:
    status, result, printed = check("oracle", "-k", "no_such_check")
    assert (status, result["ok"], result["checks"], result["judged"]["oracle"][0]) == (2, False, {}, 0)
    assert "-k: got 'no_such_check', which leaves nothing to judge of oracle, wanted an expression" in printed


def test_a_backend_of_which_nothing_is_judged_is_not_ok_beside_one_that_passes(check: Check) -> None:
    status, result, printed = check("oracle", "modest", "-k", "plain-float64-eval")
    assert (status, result["ok"]) == (2, False)
    assert {name: judged[0] for name, judged in result["judged"].items()} == {"oracle": 2, "modest": 0}
    assert "nothing to judge of modest" in printed


def test_the_last_line_says_how_much_was_judged(check: Check) -> None:
    status, result, printed = check("oracle", "-k", "plain-float64-eval or oracle-ties")
    assert status == 0
    count, total = result["judged"]["oracle"]
    assert (count, total) == (3, len(cells()) + len(FACTS))
    assert printed.splitlines()[-1] == f"oracle: judged 3 of {total}"


def test_a_count_of_outcomes_decides() -> None:
    good, bad = Verdict(0.0, EXACT), Verdict(1.0, EXACT, "", "wrong")
    board = Board(["a", "b"], {"one": ("inference", ()), "two": ("training", ()), "declared ties": ("gradients", ())})
    board.begun = True
    assert board.status() == 2
    board.note("one", "a", good)
    assert board.status() == 2
    board.note("one", "b", bad, known=True, expected=True)
    assert (board.status(), board.judged("b")) == (1, (1, 3))
    board.left_out |= {("a", "two"), ("b", "two")}
    board.facts["ties"] = {"a": Fact("first", 0.0)}
    assert board.status() == 1
    board.claims["b"] = ("inference", ["float32"])
    assert (board.status(), board.judged("b"), board.judged("a")) == (0, (1, 1), (2, 3))
    board.note("two", "a", good, expected=True)
    assert board.status() == 1


# Deaf to what surrounds it


def test_nothing_of_the_folder_or_of_the_users_pytest_is_heard(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project" / "folder"
    folder.mkdir(parents=True)
    for path in (tmp_path / "evil.py", folder / "conftest.py", folder.parent / "conftest.py"):
        path.write_text(EVIL)
    for name in ("pytest.ini", ".pytest.ini", "setup.cfg", "tox.ini"):
        (folder / name).write_text(f"[{'tool:' * (name == 'setup.cfg')}pytest]\naddopts = --collect-only\n")
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--collect-only"\n')
    points = tmp_path / "vgg_plugins-0.dist-info" / "entry_points.txt"
    points.write_text(f"{points.read_text()}\n[pytest11]\nevil = evil\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only -p evil")
    monkeypatch.setenv("PYTEST_PLUGINS", "evil")
    status, result, printed = check("oracle", "-k", "plain-float64-eval", cwd=folder)
    assert status == 0, printed
    assert {name: row["oracle"]["outcome"] for name, row in result["checks"].items()} == {
        FORWARD: "passed",
        BACKWARD: "passed",
    }


@pytest.mark.usefixtures("check")
@pytest.mark.parametrize("conftest", [SKIPS, DROPS])
def test_in_a_pytest_of_ones_own_a_cell_that_did_not_run_is_no_pass(tmp_path: Path, conftest: str) -> None:
    (tmp_path / "conftest.py").write_text(conftest)
    done = _pytest(tmp_path, "--vgg-backend", "oracle", "-k", "plain-float64-eval", "--vgg-json", "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert (found["ok"], found["judged"]["oracle"][0]) == (False, 1)
    assert [row["oracle"]["outcome"] for row in found["checks"].values()] == ["passed", "not judged"]
    assert f"oracle: 1 did not run to its end: {BACKWARD}" in done.stdout
    assert "oracle: judged 1 of " in done.stdout


@pytest.mark.usefixtures("check")
def test_a_project_with_other_names_for_its_tests_collects_the_suite_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = check_*.py\npython_functions = check_*\n")
    done = _pytest(tmp_path, "--vgg-backend", "oracle", "-k", "forward-plain-float64-eval or oracle-ties")
    assert done.returncode == 0, done.stdout
    assert "oracle: judged 2 of " in done.stdout


def test_in_a_pytest_that_asks_for_nothing_the_plugin_imports_nothing(tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    plugin = project["project"]["entry-points"]["pytest11"]["vgg"]
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    script = (
        "import sys, pytest; status = pytest.main(sys.argv[1:]);"
        "print(int(status), sorted({'numpy', 'hypothesis', 'vgg.client', 'vgg.conformance.board'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", script, "-q", "-p", "no:vgg", "-p", plugin, "-p", "no:xdist", str(tmp_path)]
    environ = {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plain = ["-p", "no:cacheprovider", "--pyargs", "vgg.conformance"]
    command = [sys.executable, "-P", "-m", "pytest", *plain, "-c", str(folder / "pytest.ini"), "--rootdir", str(folder)]
    (folder / "pytest.ini").touch()
    conftest = ["-p", "conftest"] if (folder / "conftest.py").exists() else []
    return subprocess.run([*command, *conftest, *arguments], capture_output=True, text=True, check=False, cwd=folder)


def test_collecting_alone_is_no_failure(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "--vgg-backend", "torch", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout
    assert "test_conformance[torch-claims]" in done.stdout


def test_without_assertions_random_specs_fail_all_the_same(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    status, result, _ = check("faulty", "-k", "faulty-properties-float64", fault="keys")
    assert (status, result["checks"]["properties float64"]["faulty"]["outcome"]) == (1, "failed")


def test_random_specs_that_a_profile_leaves_out_are_drawn(check: Check, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from hypothesis import Phase, settings\n"
        "settings.register_profile('none', phases=[Phase.explicit], max_examples=1)\n"
        "settings.load_profile('none')\n"
    )
    status, result, _ = check("oracle", "-k", "oracle-properties-float64")
    assert status == 0
    assert result["checks"]["properties float64"]["oracle"]["where"].startswith("10 specs, the largest")


def test_a_claim_that_changes_with_a_workers_death_is_no_way_out() -> None:
    board = Board(["a"], {"one": ("inference", ()), "two": ("training", ())}, begun=True)
    board.claims["a"] = ("training", ["float64"])
    board.note("one", "a", Verdict(0.0, EXACT))
    board.leave("two", "a", "not claimed: training", "not claimed")
    assert (board.outcome("a", "two"), board.status()) == ("not judged", 1)


# Where results go


@pytest.mark.parametrize("place", ["missing/report.xml", "", "file/report.xml"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_judged(
    check: Check, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    status, result, printed = check("oracle", "--junit", str(tmp_path / place))
    assert (status, result) == (2, {})
    assert f"vgg: --junit: got {tmp_path / place}, wanted a file in a folder that can be written" in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("check")
def test_json_to_a_full_disk_is_refused_before_anything_is_judged() -> None:
    command = [sys.executable, "-c", "import sys; from vgg.cli import main; sys.exit(main())", "check", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, "oracle"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("vgg: standard output: got No space left on device, wanted a file")


def test_a_file_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    outputs.check_file("--junit", path)
    assert not path.exists()
    path.write_text("before")
    outputs.check_file("--junit", path)
    assert path.read_text() == "before"
    with pytest.raises(VGGError, match="wanted a file in a folder"):
        outputs.check_file("--junit", tmp_path)


# Levels and dtypes


def test_a_backend_that_claims_less_is_asked_less_and_judged_in_all_of_it(check: Check, tmp_path: Path) -> None:
    path, asked = tmp_path / "report.xml", ("-k", "not exchange and not relay and not structure-vgg1")
    status, result, printed = check("modest", *asked, "--junit", str(path))
    outcomes = {name: row["modest"]["outcome"] for name, row in result["checks"].items()}
    needs = {name: (cell.level, cell.dtypes) for name, cell in cells().items() if name in outcomes}
    claimed = {name for name, (level, dtypes) in needs.items() if level == "inference" and "float64" not in dtypes}
    assert status == 0, printed
    assert {name for name, outcome in outcomes.items() if outcome == "passed"} == claimed
    assert {outcome for name, outcome in outcomes.items() if name not in claimed} == {"not claimed"}
    assert {"claims", "structure alexnet", "forward mixed float32 train", "properties float32"} <= claimed
    assert result["claims"]["modest"] == {"level": "inference", "dtypes": ["float32"]}
    assert printed.splitlines()[-1].startswith("modest: inference, float32: judged ")
    skipped = [case for case in ET.parse(path).getroot()[0] if case.find("skipped") is not None]
    facts = [row["modest"]["text"] for row in result["declared"].values()]
    assert len(skipped) == sum(o == "not claimed" for o in [*outcomes.values(), *facts])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VGG_LEVEL", "trainnig", "unknown LEVEL 'trainnig': did you mean training?"),
        ("VGG_DTYPES", "float16", f"unknown dtype in DTYPES 'float16': did you mean {DTYPES[0]}"),
        ("VGG_DTYPES", "", "DTYPES: got (), wanted a tuple of one or more of float64, float32"),
        ("VGG_LEVEL", "gradients", "got no loss_and_grads, wanted the functions vgg_block, build"),
    ],
)
def test_a_claim_that_is_none_is_refused_when_the_worker_starts(
    check: Check, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    status, result, _ = check("modest", "-k", "claims")
    assert status == 1
    assert message in result["checks"]["claims"]["modest"]["reason"]
