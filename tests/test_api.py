"""The Python API over the oracle: what the commands do, called from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Check

import vgg
from vgg import Block, Conv, Head, Spec, VGGError
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report import notebook

PLUGIN = Path(__file__).parent / "plugin_backend"
TINY = Spec((Block((Conv(4),)), Block((Conv(8),))), (1, 8, 8), 10, Head((16,), 0.25), name="tiny")


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend over the oracle, and one that cannot start, in place of the four."""
    entries = {"oracle": Entry("oracle", "vgg_oracle"), "broken": Entry("broken", "no_such_module")}
    monkeypatch.setattr(registry, "_OWN", entries)
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook shows, in a process that takes itself for one."""
    shown: list[str] = []

    def display(html: str, **_: object) -> SimpleNamespace:
        shown.append(html)
        return SimpleNamespace(update=shown.append)

    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    return shown


def test_every_name_is_there_and_has_a_docstring() -> None:
    for name in vgg.__all__:
        assert getattr(vgg, name).__doc__, name
    assert set(vgg.__all__) <= set(dir(vgg))


def test_importing_the_package_imports_neither_numpy_nor_a_command() -> None:
    code = "import sys, vgg; print({'numpy', 'rich', 'vgg.api', 'argparse'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_run_has_accuracy_metrics_weights_and_a_report(tmp_path: Path) -> None:
    run = vgg.train("oracle", TINY, recipe="quick", epochs=1, out=tmp_path / "run", progress=False)
    assert run.accuracy == json.loads((tmp_path / "run" / "run.json").read_text())["summary"]["test_accuracy"]
    assert [row["step"] for row in run.metrics if "step" in row] == list(range(45))
    assert {name: array.shape for name, array in run.weights().items()} == vgg.shapes(TINY)
    assert "<html" in run.report.read_text()
    assert repr(run) == f"Run('oracle', '{tmp_path}/run', accuracy={run.accuracy:.4f})"
    assert f"<td>{run.accuracy:.4f}</td>" in run._repr_html_()
    assert json.loads(json.dumps(run.to_dict()))["run"] == str(tmp_path / "run")


def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    options: dict[str, Any] = {"recipe": "quick", "progress": False}
    whole = vgg.train("oracle", TINY, epochs=2, out=tmp_path / "whole", **options)
    vgg.train("oracle", TINY, epochs=1, out=tmp_path / "parts", **options)
    resumed = vgg.train(resume=tmp_path / "parts", epochs=2, progress=False)
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(resumed.weights()[name], array)


def test_a_recipe_of_ones_own_and_fields_of_it(tmp_path: Path) -> None:
    plan = vgg.Recipe("mine", "digits", epochs=3, batch_size=64, lr=0.01)
    run = vgg.train("oracle", TINY, recipe=plan, epochs=1, momentum=0.5, out=tmp_path / "run", keep=0, progress=False)
    said = json.loads((run.path / "run.json").read_text())
    assert {name: said["recipe"][name] for name in ("name", "epochs", "batch_size", "momentum")} == {
        "name": "mine",
        "epochs": 1,
        "batch_size": 64,
        "momentum": 0.5,
    }
    assert said["keep"] == 0


def test_a_comparison_has_runs_a_report_and_a_table(tmp_path: Path) -> None:
    both = vgg.compare(["oracle", "broken"], TINY, epochs=1, out=tmp_path / "both", progress=False)
    assert not both.ok
    assert list(both) == ["oracle", "broken"]
    assert both["oracle"].accuracy == both.to_dict()["backends"]["oracle"]["test_accuracy"]
    assert both["oracle"].weights()
    with pytest.raises(KeyError, match="broken failed: "):
        both["broken"]
    assert both.report.exists()
    assert "<td>failed</td>" in both._repr_html_()
    assert repr(both) == f"Comparison(oracle, broken; ok=False, '{tmp_path}/both')"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vgg.train("oracle", TINY, epoch=1), "unknown option 'epoch': did you mean epochs"),
        (lambda: vgg.train("oracle"), "got no BACKEND and ARCH"),
        (lambda: vgg.train("oracel", TINY), "unknown backend 'oracel': did you mean oracle"),
        (lambda: vgg.train("oracle", TINY, lr=-1), "recipe.lr: got -1, wanted a number > 0"),
        (lambda: vgg.train(resume="nowhere"), "nowhere: not a run directory"),
        (lambda: vgg.train("oracle", "vgg11", replicas=99, batch_size=3), "--replicas: got 99, wanted at most 3"),
        (lambda: vgg.compare(["oracle"], TINY, out=__file__), "cannot be made a run directory"),
        (lambda: vgg.compare(["oracle"], "vgg99"), "unknown architecture 'vgg99'"),
        (lambda: vgg.check(["oracle"], spec="missing.toml"), "missing.toml: cannot be read as a spec"),
        (lambda: vgg.check(["oracle"], junit="/nowhere/x.xml"), "--junit: got /nowhere/x.xml"),
        (lambda: vgg.bench(["oracle"], workload=["vgg12"]), "unknown workload 'vgg12'"),
        (lambda: vgg.bench(["oracle"], device="auto"), "--device: got auto, wanted cpu or gpu"),
        (lambda: vgg.show("vgg11", input="3x4"), "--input: got 3x4"),
    ],
)
def test_what_is_wrong_is_an_error_of_one_line(
    call: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VGGError) as wrong:
        call()
    assert message in str(wrong.value)
    assert not list(tmp_path.iterdir())


def test_show_prints_the_layer_table(capsys: pytest.CaptureFixture[str]) -> None:
    vgg.show(TINY)
    printed = capsys.readouterr().out
    assert "tiny: 1x8x8 -> 10" in printed
    assert "block2.conv1" in printed


def test_show_displays_a_table_in_a_notebook(displayed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    vgg.show("vgg11", narrow=4, input=(1, 32, 32), classes=10)
    assert capsys.readouterr().out == ""
    assert "<td>block5.conv2</td>" in displayed[0]


def test_a_notebook_shows_curves_as_a_run_goes_on(
    displayed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "EVERY", 0.0)
    vgg.train("oracle", TINY, recipe="quick", epochs=1, out=tmp_path / "run")
    assert "training loss" in displayed[-1]
    assert "accuracy" in displayed[-1]
    assert displayed[-1].count("<svg") == 2


def test_a_table_in_a_notebook_escapes_its_texts() -> None:
    assert notebook.table(["<a>"], [["<b>&"]]) == (
        "<table><thead><tr><th>&lt;a&gt;</th></tr></thead><tbody><tr><td>&lt;b&gt;&amp;</td></tr></tbody></table>"
    )


CHECKING = """
import json, sys, vgg
found = vgg.check(["oracle", "modest"], select=sys.argv[1], jobs=1)
facts = {"ok": found.ok, "cells": list(found.cells), "judged": found.judged, "html": found._repr_html_()}
sys.stderr.write(json.dumps({**facts, "reason": found.reason, "repr": repr(found)}))
"""


@pytest.mark.parametrize(("select", "ok"), [("forward-plain-float32-eval", True), ("no_such_check", False)])
def test_a_check_has_cells_with_errors_and_limits(check: Check, select: str, ok: bool) -> None:
    done = subprocess.run([sys.executable, "-c", CHECKING, select], capture_output=True, text=True, check=True)
    found = json.loads(done.stderr)
    assert found["ok"] is ok
    assert bool(found["reason"]) is not ok
    assert found["cells"] == (["forward plain float32 eval"] if ok else [])
    assert [count for count, _ in found["judged"].values()] == [int(ok)] * 2
    assert found["repr"].startswith(f"Check(ok={ok}; oracle: judged {int(ok)} of ")


def test_the_catalogue_has_architectures_and_backends() -> None:
    found = vgg.catalogue()
    assert found["architectures"]["vgg16"] == {"params": 138_357_544, "macs": 15_470_264_320}
    assert found["backends"]["oracle"] == {"where": "current interpreter", "version": "plug-in"}


@pytest.mark.parametrize("function", [vgg.compare, vgg.check, vgg.bench])
def test_no_backend_is_not_all_of_them(function: Any) -> None:
    with pytest.raises(VGGError, match="backends: got none, wanted one or more"):
        function([])
