"""``vgg check`` is deaf to what surrounds it, and a pytest of one's own hides nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import Check

from vgg import VGGError
from vgg.core import files

FORWARD, BACKWARD = "forward plain float64 eval", "backward plain float64 eval"
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
        "named = {'numpy', 'hypothesis', 'vgg.process.client', 'vgg.conformance.board'};"
        "print(int(status), sorted(named & {*sys.modules}))"
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
    where = result["checks"]["properties float64"]["oracle"]["where"]
    assert where.startswith("10 specs, 10 with gradients, the largest")


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
    files.check_file("--junit", path)
    assert not path.exists()
    path.write_text("before")
    files.check_file("--junit", path)
    assert path.read_text() == "before"
    with pytest.raises(VGGError, match="wanted a file in a folder"):
        files.check_file("--junit", tmp_path)
