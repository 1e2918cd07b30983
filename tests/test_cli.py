"""The command line: contracts of output and exit status, errors, and the main job on a backend without a framework."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from vgg import VGGError, load_params
from vgg.cli import main
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report.terminal import Progress
from vgg.runs.tensorboard import writer
from vgg.training.checkpoints import alone_in

PLUGIN = Path(__file__).parent / "plugin_backend"
SMALL = ["--input", "1x32x32", "--narrow", "4"]


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend over the oracle, and one that cannot start, in place of the four."""
    entries = {"oracle": Entry("oracle", "vgg_oracle"), "broken": Entry("broken", "no_such_module")}
    monkeypatch.setattr(registry, "_OWN", entries)
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A spec file that the oracle trains in a moment."""
    path = tmp_path / "tiny.json"
    head = {"hidden": [16], "dropout": 0.25}
    path.write_text(json.dumps({"blocks": [[1, 4], [1, 8]], "input_shape": [1, 8, 8], "classes": 10, "head": head}))
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one error that the command prints, having exited with 2 and printed nothing else."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "vgg99"], "unknown architecture 'vgg99': did you mean vgg19?"),
        (["show"], "arguments are required: ARCH"),
        (["show", "vgg11", "--input", "3x4"], "--input: got 3x4, wanted channels x height x width"),
        (["show", "vgg11", "--input", "3x8x8"], "take a larger input"),
        (["show", "vgg11", "--narrow", "7"], "narrow: got 7, wanted a divisor"),
        (["show", "vgg11", "--classes", "0"], "spec.classes: got 0"),
        (["show", "missing.json"], "missing.json: cannot be read as a spec"),
        (["shwo"], "invalid choice: 'shwo'"),
        (["check", "--device", "tpu"], "invalid choice: 'tpu' (choose from"),
        (["check", "pytorch"], "unknown backend 'pytorch': did you mean torch?"),
        (["train", "flax", "vgg11"], "unknown backend 'flax': did you mean jax?"),
        (["train", "torch"], "vgg train: got no BACKEND and ARCH"),
        (["train", "torch", "vgg11", "--recipe", "quik"], "unknown recipe 'quik': did you mean quick?"),
        (["train", "torch", "vgg11", "--lr", "-1"], "recipe.lr: got -1.0, wanted a number > 0"),
        (["train", "torch", "vgg11", "--input", "3x32x32"], "input channels: got 3, wanted 1, as digits has"),
        (["train", "--resume", "nowhere"], "nowhere: not a run directory"),
        (["train", "torch", "vgg11", "--timeout", "-1"], "got -1, wanted a number of seconds > 0"),
        (["train", "torch", "vgg11", "--set", "momentum"], "--set: got 'momentum', wanted FIELD=VALUE"),
        (["train", "torch", "vgg11", "--set", "momentun=0.9"], "unknown field of a recipe 'momentun'"),
        (["train", "torch", "vgg11", "--set", "momentum=often"], "recipe.momentum: got 'often', wanted a number"),
        (["train", "torch", "vgg11", "--set", "plateau=[0.1, 5]"], "recipe.plateau: got no validation images"),
        (["compare", "--dataset", "mnist"], "unknown dataset 'mnist': did you mean fashion-mnist?"),
        (["compare", "tf"], "unknown backend 'tf': did you mean tensorflow?"),
    ],
)
def test_wrong_usage_is_one_error_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, *arguments)


def test_a_missing_data_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = refused(capsys, "train", "torch", "vgg11", "--dataset", "fashion-mnist", "--data", str(tmp_path))
    assert "train-images-idx3-ubyte.gz" in error


def test_a_run_directory_that_holds_something_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    assert "wanted a new or empty one" in refused(capsys, "compare", "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_run_directory_below_a_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made a run directory" in refused(capsys, "compare", "--out", str(tmp_path / "file" / "run"))


@pytest.mark.parametrize("place", ["/sys/run", "/proc/run"])
def test_a_run_directory_on_what_nobody_can_write_to_is_refused(capsys: pytest.CaptureFixture[str], place: str) -> None:
    assert f"{place}: cannot be made a run directory" in refused(capsys, "train", "torch", "vgg11", "--out", place)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg99", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show", "check", "train", "compare"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"example:\n  vgg {command}" in capsys.readouterr().out


def test_show_json_keeps_its_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg16", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["params"], shown["macs"]) == (138_357_544, 15_470_264_320)
    assert shown["layers"][0] == {
        "name": "block1.conv1",
        "kind": "conv",
        "output_shape": [64, 224, 224],
        "params": 1792,
        "macs": 86_704_128,
    }


def test_show_prints_the_table_and_the_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "vgg11_narrow"]) == 0
    out = capsys.readouterr().out
    for text in ("block5.pool", "128x7x7", "43,093,322", "512,155,648", "dense layers"):
        assert text in out


def test_show_reads_a_spec_file(capsys: pytest.CaptureFixture[str], tiny: str) -> None:
    assert main(["show", tiny, "--classes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["output_shape"] == [3]


def test_no_framework_is_imported_to_show() -> None:
    code = "import sys; from vgg.cli import main; main(['show', 'vgg16']); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = out.splitlines()[-1]
    assert "'vgg.report.terminal'" in loaded
    assert not any(f"'{name}'" in loaded for name in ("numpy", "torch", "tensorflow", "keras", "jax", "mxnet"))


@pytest.mark.usefixtures("oracle")
def test_compare_proves_trains_and_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str) -> None:
    out = tmp_path / "run"
    assert main(["compare", "oracle", "--arch", tiny, "--epochs", "2", "--out", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    column = shown["backends"]["oracle"]
    assert (column["layers_agreeing"], column["ok"], shown["ok"]) == (column["layers"], True, True)
    assert column["last_loss"] < column["first_loss"]
    assert json.loads((out / "compare.json").read_text()) == shown
    page = (out / "report.html").read_text()
    assert "oracle agrees with the float64 oracle in every layer" in page
    assert "<title>Training loss</title>" in page
    assert (out / "oracle" / "weights.safetensors").exists()


@pytest.mark.usefixtures("oracle")
def test_a_backend_that_cannot_start_is_red_and_the_other_finishes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str
) -> None:
    out = tmp_path / "run"
    assert main(["compare", "broken", "oracle", "--arch", tiny, "--epochs", "1", "--out", str(out)]) == 1
    shown = json.loads((out / "compare.json").read_text())
    assert "no_such_module" in shown["backends"]["broken"]["error"]
    assert shown["backends"]["oracle"]["ok"]
    assert "broken failed" in (out / "report.html").read_text()
    assert "broken failed" in capsys.readouterr().err


@pytest.mark.usefixtures("oracle")
def test_train_writes_a_run_and_resumes_it(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "2", "--out", str(run)]) == 0
    assert {path.name for path in run.iterdir()} == {
        "run.json",
        "metrics.jsonl",
        "checkpoints",
        "evaluation.json",
        "weights.safetensors",
        "report.html",
    }
    page = (run / "report.html").read_text()
    assert "in oracle</h1>" in page
    assert "<title>Training loss</title>" in page
    assert "One network" not in page
    before = (run / "weights.safetensors").read_bytes()
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "weights.safetensors").read_bytes() == before
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.usefixtures("oracle")
def test_a_run_that_another_process_is_at_is_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str
) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "1", "--out", str(run)]) == 0
    before = (run / "run.json").read_bytes()
    capsys.readouterr()
    with alone_in(run):
        assert "another process is at" in refused(capsys, "train", "--resume", str(run), "--every", "7")
    assert (run / "run.json").read_bytes() == before


@pytest.mark.usefixtures("oracle")
def test_a_backend_that_cannot_start_leaves_no_run_behind(tmp_path: Path, tiny: str) -> None:
    run = tmp_path / "run"
    assert main(["train", "broken", tiny, "--out", str(run)]) == 1
    assert not run.exists()


@pytest.mark.usefixtures("oracle")
def test_any_field_of_a_recipe_can_be_set_and_is_stored_with_the_run(tmp_path: Path, tiny: str) -> None:
    run, fields = tmp_path / "run", ("init=torch", "lr_drops=[[1, 0.5]]", "flip=true", "validation=0.25", "epochs=2")
    assert main(["train", "oracle", tiny, "--out", str(run), *(w for f in fields for w in ("--set", f))]) == 0
    stored = json.loads((run / "run.json").read_text())["recipe"]
    wanted = {"name": "quick", "init": "torch", "lr_drops": [[1, 0.5]], "flip": True, "validation": 0.25, "epochs": 2}
    assert {name: stored[name] for name in wanted} == wanted


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("change", [["--lr", "0.5"], ["--set", "momentum=0.5"], ["--recipe", "paper"]])
def test_a_run_goes_on_as_it_began(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str, change: list[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "1", "--out", str(run)]) == 0
    capsys.readouterr()
    assert "wanted at most other epochs" in refused(capsys, "train", "--resume", str(run), *change)
    assert main(["train", "--resume", str(run), "--epochs", "2"]) == 0
    assert json.loads((run / "run.json").read_text())["recipe"]["epochs"] == 2


@pytest.mark.usefixtures("oracle")
def test_a_run_cannot_be_made_shorter_than_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "2", "--out", str(run)]) == 0
    capsys.readouterr()
    assert "--epochs: got 1, wanted at least 2" in refused(capsys, "train", "--resume", str(run), "--epochs", "1")
    assert main(["train", "--resume", str(run), "--set", "epochs=3"]) == 0
    assert json.loads((run / "run.json").read_text())["recipe"]["epochs"] == 3


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("option", [["--init-from", "nowhere.safetensors"], ["--set", "init_from=7"]])
def test_a_run_that_cannot_begin_leaves_its_directory_free(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str, option: list[str]
) -> None:
    run = tmp_path / "run"
    refused(capsys, "train", "oracle", tiny, *option, "--out", str(run))
    assert not run.exists() or list(run.iterdir()) == []


@pytest.mark.usefixtures("oracle")
def test_a_run_can_go_on_elsewhere_and_the_first_one_stays(tmp_path: Path, tiny: str) -> None:
    run, other, whole = (tmp_path / name for name in ("run", "other", "whole"))
    assert main(["train", "oracle", tiny, "--epochs", "1", "--out", str(run)]) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["train", "oracle", "--resume", str(run), "--epochs", "2", "--out", str(other)]) == 0
    assert main(["train", "oracle", tiny, "--epochs", "2", "--out", str(whole)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert json.loads((other / "run.json").read_text())["continues"] == str(run)
    ends = [load_params(folder / "weights.safetensors") for folder in (other, whole)]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[1])


@pytest.mark.usefixtures("oracle")
def test_a_run_without_a_checkpoint_cannot_go_on_elsewhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str
) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "1", "--keep", "0", "--out", str(run)]) == 0
    capsys.readouterr()
    assert "run without checkpoints" in refused(capsys, "train", "--resume", str(run), "--out", str(tmp_path / "other"))


@pytest.mark.usefixtures("oracle")
def test_a_run_that_lacks_a_file_cannot_go_on_elsewhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: str
) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "1", "--out", str(run)]) == 0
    (run / "metrics.jsonl").unlink()
    capsys.readouterr()
    assert "metrics.jsonl" in refused(capsys, "train", "--resume", str(run), "--out", str(tmp_path / "other"))


@pytest.mark.usefixtures("oracle")
def test_a_run_can_start_from_anothers_weights(tmp_path: Path, tiny: str) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    assert main(["train", "oracle", tiny, "--epochs", "1", "--out", str(run)]) == 0
    assert main(["train", "oracle", tiny, "--epochs", "1", "--init-from", str(run), "--out", str(other)]) == 0
    first = [json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])["loss"] for folder in (run, other)]
    assert first[1] < first[0]


@pytest.mark.usefixtures("oracle")
def test_tensorboard_gets_every_step_and_epoch(tmp_path: Path, tiny: str) -> None:
    run = tmp_path / "run"
    assert main(["train", "oracle", tiny, "--epochs", "2", "--tensorboard", "--out", str(run)]) == 0
    steps: dict[str, list[int]] = {}
    for path in (run / "tensorboard").iterdir():
        for event in records(path):
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    assert steps["loss"] == list(range(1, 91))
    assert steps["test_accuracy"] == steps["training_loss"] == [45, 90]


def test_tensorboard_on_a_full_disk_says_so(tmp_path: Path) -> None:
    limits, event = resource.getrlimit(resource.RLIMIT_FSIZE), {"loss": 1.0, "number": 1}
    with writer(tmp_path) as write:
        write(event)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            with pytest.raises(VGGError, match=r"cannot be written \(File too large\); raise the limit on"):
                write(event)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_lies_behind_a_run_that_goes_on_does_not_count_as_speed() -> None:
    now = [0.0]
    progress = Progress(quiet=True)
    progress._bar.get_time = lambda: now[0]
    progress.stage("torch", "training", 200)
    for number in range(101, 111):
        now[0] += 2
        progress.event("torch", {"loss": 1.0, "images": 32, "seconds": 2.0, "number": number})
    task = progress._bar.tasks[0]
    assert (task.completed, task.total, task.time_remaining) == (110, 200, 180)
    assert task.fields["note"] == "loss 1.0000    16 images/s"


def test_a_step_that_may_compile_does_not_count_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.stage("jax", "training", 4)
    for number, (images, seconds) in enumerate([(32, 100.0), (32, 2.0), (16, 50.0), (16, 1.0)], 1):
        progress.event("jax", {"loss": 1.0, "images": images, "seconds": seconds, "number": number})
    assert progress._bar.tasks[0].fields["note"] == "loss 1.0000    16 images/s"
    progress.event("jax", {"epoch": 0, "training_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.5})
    assert "training loss 1.0000, 16 images/s, test loss" in capsys.readouterr().err


def records(path: Path) -> list[Any]:
    """The events in a file: each is framed by its length (8 bytes, and 4 of checksum) and 4 bytes of checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found, rest = [], path.read_bytes()
    while rest:
        size = int.from_bytes(rest[:8], "little")
        found.append(Event.FromString(rest[12 : 12 + size]))
        rest = rest[12 + size + 4 :]
    return found


def test_tensorboard_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(VGGError, match=r"wanted tensorboardX; pip install 'vgg\[tensorboard\]'"):
        writer(tmp_path)


def test_an_entry_point_that_names_no_module_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = EntryPoints([EntryPoint("mine", "my-module", registry.GROUP)])
    monkeypatch.setattr(registry, "_announced", lambda: announced)
    with pytest.raises(VGGError, match="got 'my-module', wanted the name of a module"):
        registry.find("mine")
