"""Run directories whose files are edited, torn, of another type or somebody else's: one line names file and field."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_train import kill_after

from vgg import Head, Recipe, Spec, VGGError, api
from vgg.cli import main
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report.evaluations import read as evaluations
from vgg.report.terminal import Progress
from vgg.runs import compare as comparing
from vgg.runs import directory, train
from vgg.runs.options import Setup, Task
from vgg.training import data
from vgg.training.checkpoints import alone_in
from vgg.training.loop import run

PLUGIN = Path(__file__).with_name("plugin_backend")
SPEC = Spec.from_blocks(((1, 2),), input_shape=(1, 8, 8), classes=10, head=Head((4,)), name="tiny")
RECIPE = Recipe("quick", "digits", 2, 400, 8, plateau=(0.5, 1), validation=0.25)
PER_EPOCH = 3


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A backend over the oracle in place of the four."""
    monkeypatch.setattr(registry, "_OWN", {name: Entry(name, "vgg_oracle") for name in ("oracle", "other")})
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.syspath_prepend(PLUGIN)


def make_run(place: Path, recipe: Recipe = RECIPE, spec: Spec = SPEC, stop: int = 5) -> Path:
    """A run that was killed after ``stop`` steps, as its last life left it."""
    import vgg_oracle

    task = Task(spec, recipe, data.load("digits"))
    directory.create(place, "oracle", task, Setup(every=1))
    about: dict[str, Any] = {"spec": spec.to_dict(), "recipe": recipe.to_dict(), "device": "cpu", "every": 1}
    with pytest.raises(KeyboardInterrupt):
        run(vgg_oracle, place, train._arrays(task), facts={"framework": "numpy"}, emit=kill_after(stop), **about)
    return place


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        return make_run(tmp_path_factory.mktemp("original") / "run")


@pytest.fixture
def out(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def contents(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def refused(out: Path, **changes: Any) -> str:
    """The one line that says why a run cannot go on; nothing in its directory has changed."""
    before = contents(out)
    with pytest.raises(VGGError) as error:
        train.resumed(out, None, changes, {}, None)
    assert contents(out) == before
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    return str(error.value)


def newest(out: Path) -> Path:
    return max((out / "checkpoints").iterdir())


def test_a_run_as_it_was_left_goes_on(out: Path) -> None:
    assert train.resumed(out, None, {}, {}, None).resume


# run.json


WRONG = [None, True, -1, 0.5, 7, 2**70, "7", "", [], ["x"], {}, {"a": 1}, "\udc80"]
FITTING: dict[str, Callable[[Any], bool]] = {
    "backend": lambda value: False,
    "device": lambda value: False,
    "replicas": lambda value: value == 7 and value is not True,
    "deterministic": lambda value: value is True,
    "tensorboard": lambda value: value is True,
    "keep": lambda value: value == 7,
    "every": lambda value: value == 7,
    "data": lambda value: value is None,
    "spec": lambda value: False,
    "recipe": lambda value: False,
    "placed": lambda value: False,
    "examples": lambda value: value == 7 and value is not True,
    "continues": lambda value: isinstance(value, str),
    "facts": lambda value: value is None or isinstance(value, dict),
    "summary": lambda value: value is None or isinstance(value, dict),
    "machine": lambda value: False,
    "date": lambda value: isinstance(value, str),
    "vgg": lambda value: isinstance(value, str),
    "earlier_facts": lambda value: isinstance(value, list),
    "starts": lambda value: value == [],
}
"""Field -> whether a value is one that it may have."""


@pytest.mark.parametrize("field", FITTING)
def test_a_field_of_a_wrong_type_is_named(out: Path, field: str) -> None:
    about = json.loads((out / "run.json").read_text())
    for value in WRONG:
        (out / "run.json").write_text(json.dumps({**about, field: value}))
        if FITTING[field](value):
            directory.load(out)
            continue
        message = refused(out)
        assert str(out / "run.json") in message
        assert field in message


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("spec", "classes", "10", "run.json: spec.classes: got '10', wanted an integer"),
        ("spec", "blocks", 5, "run.json: blocks: got 5, wanted a list"),
        ("spec", "colour", 5, "run.json: unknown key in spec 'colour'"),
        ("spec", "input_shape", [3, 8, 8], "run.json: input channels: got 3, wanted 1, as digits has"),
        ("spec", "classes", 9, "run.json: --classes: got 9, wanted at least 10"),
        ("recipe", "seed", -1, "run.json: recipe.seed: got -1, wanted an integer"),
        ("recipe", "dataset", "digit", "run.json: unknown dataset 'digit': did you mean digits"),
        ("recipe", "validation", 0.00001, "run.json: recipe.validation: got 1e-05: 0 of 1440 images"),
        ("recipe", "seed", 3, "safetensors: recipe.seed: got 0, wanted 3; it belongs to another run"),
        ("recipe", "batch_size", 401, "safetensors: recipe.batch_size: got 400, wanted 401"),
        ("recipe", "plateau", [], r"safetensors: recipe.plateau[0]: got 0.5, wanted nothing"),
        ("spec", "head", {"hidden": [4], "dropout": 0.25}, "safetensors: spec.head.dropout: got 0.5, wanted 0.25"),
        ("spec", "classes", 11, "safetensors: spec.classes: got 10, wanted 11"),
    ],
)
def test_what_does_not_fit_the_checkpoint_or_the_data_is_named(
    out: Path, part: str, field: str, value: Any, message: str
) -> None:
    about = json.loads((out / "run.json").read_text())
    about[part][field] = value
    (out / "run.json").write_text(json.dumps(about))
    assert message in refused(out)


def test_a_folder_that_an_earlier_version_recorded_for_digits_is_no_harm(out: Path) -> None:
    about = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**about, "data": "/nowhere"}))
    assert train.resumed(out, None, {}, {}, None).task.data is None


@pytest.mark.parametrize(
    ("part", "field"), [*(("spec", name) for name in SPEC.to_dict()), *(("recipe", name) for name in RECIPE.to_dict())]
)
def test_a_field_that_is_gone_has_no_default(out: Path, part: str, field: str) -> None:
    about = json.loads((out / "run.json").read_text())
    del about[part][field]
    (out / "run.json").write_text(json.dumps(about))
    assert f"run.json: {part}.{field}: got nothing, wanted the value that the run had" in refused(out)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"x"',
        "[" * 9**6,
        "\0" * 9,
        '\ufeff{"backend": "oracle"}',
        "9" * 5000,
        '{"backend": "oracle", "backend": "oracle"}',
    ],
)
@pytest.mark.parametrize("name", ["run.json"])
def test_a_file_that_holds_no_object_is_named(out: Path, name: str, text: str) -> None:
    (out / name).write_text(text)
    assert str(out / name) in refused(out)


def test_metrics_with_a_byte_order_mark_are_named(out: Path) -> None:
    path = out / "metrics.jsonl"
    path.write_bytes("\ufeff".encode() + path.read_bytes())
    assert f"{path}, line 1" in refused(out)


@pytest.mark.parametrize("epochs", [0, -1])
def test_epochs_of_a_resumed_run_are_checked(out: Path, epochs: int) -> None:
    assert f"recipe.epochs: got {epochs}, wanted an integer >= 1" in refused(out, epochs=epochs)


def test_the_values_that_a_run_has_are_no_change(out: Path) -> None:
    same = {name: value for name, value in RECIPE.to_dict().items() if name != "name"}
    assert train.resumed(out, None, same, {}, None).task.recipe == RECIPE
    assert "another lr, wanted at most other epochs" in refused(out, lr=9.0)


# Types of files


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(os.devnull)])
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "metrics.jsonl",
        "metrics.jsonl.cut",
        "weights.safetensors",
        "evaluation.json",
        "report.html",
        "newest",
    ],
)
def test_a_file_of_another_type_is_named(out: Path, name: str, make: Callable[[Path], None]) -> None:
    path = newest(out) if name == "newest" else out / name
    path.unlink(missing_ok=True)
    make(path)
    assert str(path) in refused(out)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        *((name, make) for name in ("checkpoints", "tensorboard") for make in (Path.touch, os.mkfifo)),
        ("checkpoints", lambda path: path.symlink_to("nowhere")),
    ],
)
def test_a_folder_of_another_type_is_named(out: Path, name: str, make: Callable[[Path], None]) -> None:
    shutil.rmtree(out / name, ignore_errors=True)
    make(out / name)
    assert str(out / name) in refused(out)


# Checkpoints


def rewrite(path: Path, place: tuple[int, int] | None = None, arrays: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Give a checkpoint, as an earlier version wrote it, other arrays; and another place."""
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    state = {**load_file(path), **arrays}
    path.unlink()
    if place:
        path = path.with_name("epoch-{:04d}-step-{:06d}.safetensors".format(*place))
        about["place"] = json.dumps(place)
    kept = {name: array for name, array in state.items() if array is not None}
    save_file(kept, path, metadata={name: about[name] for name in ("place", "spec")})


def as_dtype(name: str, dtype: str) -> Callable[[Path], None]:
    return lambda path: rewrite(path, arrays={name: load_file(path)[name].astype(dtype)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: rewrite(path, (9, 0)), "epoch-0009-step-000000.safetensors: place: got [9, 0]"),
        (lambda path: rewrite(path, (2, 1)), "place: got [2, 1], wanted one in 2 epochs of 3 steps"),
        (lambda path: rewrite(path, (1, 99)), "place: got [1, 99]"),
        (lambda path: rewrite(path, (0, 0)), "place: got [0, 0]"),
        (lambda path: rewrite(path, (2, 0)), "step: got 4, wanted 6"),
        (as_dtype("step", "float64"), "step: got float64, wanted an integer"),
        (as_dtype("fc1.weight", "float64"), "fc1.weight: got float64, wanted float32"),
        (as_dtype("velocity/fc1.weight", "float16"), "velocity/fc1.weight: got float16, wanted float32"),
        (as_dtype("fc2.bias", "int64"), "fc2.bias: got int64, wanted float32"),
        (
            lambda path: rewrite(path, arrays={"fc2.bias": load_file(path)["fc2.bias"][:9]}),
            "fc2.bias: got (9,), wanted (10,)",
        ),
        (lambda path: rewrite(path, arrays={"fc2.bias": None}), "fc2.bias: got nothing"),
        (lambda path: rewrite(path, arrays={"mine": load_file(path)["step"]}), "unknown parameter in state 'mine'"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a readable checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_of_this_run_is_named(out: Path, change: Callable[[Path], None], message: str) -> None:
    for path in sorted((out / "checkpoints").iterdir())[:-1]:
        path.unlink()
    change(newest(out))
    text = refused(out)
    assert str(out / "checkpoints") in text
    assert message in text


def test_a_checkpoint_of_an_earlier_version_goes_on(out: Path) -> None:
    rewrite(newest(out))
    assert train.resumed(out, None, {}, {}, None).resume


def test_a_checkpoint_of_another_run_is_refused_and_the_new_directory_stays_free(out: Path, tmp_path: Path) -> None:
    foreign = newest(make_run(tmp_path / "foreign", replace(RECIPE, seed=3)))
    shutil.copy(foreign, newest(out))
    assert "recipe.seed: got 3, wanted 0" in refused(out)
    with pytest.raises(VGGError, match="seed: got 3, wanted 0"):
        train.resumed(out, "other", {}, {}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("loss", ["removed", "folder", "empty folder", "foreign name"])
def test_a_run_that_has_lost_its_checkpoints_does_not_begin_again(
    capsys: pytest.CaptureFixture[str], out: Path, loss: str
) -> None:
    for path in (out / "checkpoints").iterdir():
        path.unlink()
    if loss == "folder":
        (out / "checkpoints").rmdir()
    elif loss == "empty folder":  # and its rows do not tell
        lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
        (out / "metrics.jsonl").write_text("".join(lines[:2]))
    elif loss == "foreign name":
        (out / "checkpoints" / "epoch-0001-best.safetensors").touch()
    assert "wanted a checkpoint to go on from; put its checkpoints back, or start a new run" in refused(out)
    assert main(["train", "--resume", str(out)]) == 2
    assert str(out) in capsys.readouterr().err


def test_more_epochs_another_backend_and_another_place_are_no_other_run(out: Path, tmp_path: Path) -> None:
    assert train.resumed(out, None, {"epochs": 9}, {}, None).task.recipe.epochs == 9
    place = tmp_path / "new"
    assert train.resumed(out, "other", {}, {"every": 0}, place).place == place
    assert directory.read(place)["backend"] == "other"
    assert train.resumed(place, None, {}, {}, None).entry.name == "other"


# Rows


@pytest.mark.parametrize("line", ["\n", '{"epoch": 0,\n', '{"who": "me"}\n', "\0\0\0\n", "\ufeff{}\n"])
def test_a_blank_torn_or_foreign_row_is_named(out: Path, line: str) -> None:
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text("".join([lines[0], line, *lines[1:]]))
    assert f"{out / 'metrics.jsonl'}, line 2" in refused(out)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, {"loss": 1.0}),
        (1, {"lr": 3.0}),
        (1, {"seconds": 1e308}),
        (2, {"mine": 1}),
        (PER_EPOCH, {"validation_accuracy": 5.0}),
        (PER_EPOCH, {"validation_loss": 0.0}),
    ],
)
def test_a_row_that_was_changed_is_noticed(out: Path, line: int, change: dict[str, Any]) -> None:
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[line] = json.dumps({**json.loads(lines[line]), **change}) + "\n"
    path.write_text("".join(lines))
    with pytest.raises(VGGError, match=r"metrics.jsonl: got other rows than those before the checkpoint, wanted"):
        train.resumed(out, None, {}, {}, None)


def test_a_plateau_without_its_validation_rows_is_refused(out: Path) -> None:
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text("".join(line for line in lines if "validation" not in line))
    assert f"{out / 'metrics.jsonl'}, line 4: epoch: got 1, wanted 0" in refused(out)


# Locks


def test_two_comparisons_in_one_place_are_one_too_many(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(SPEC.to_json())
    out = tmp_path / "out"
    out.mkdir()
    with alone_in(out):
        assert main(["compare", "oracle", "--arch", str(tmp_path / "tiny.json"), "--out", str(out)]) == 2
    assert "another process is at" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_a_place_that_was_filled_before_the_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text("{}")
    task = Task(SPEC, RECIPE, data.load("digits"))
    for begin in (
        lambda: comparing.compare(["oracle"], tmp_path, task, Setup(), Progress(quiet=True)),
        lambda: directory.create(tmp_path, "oracle", task, Setup()),
    ):
        with pytest.raises(VGGError, match="wanted a new or empty one"):
            begin()
    assert contents(tmp_path) == {tmp_path / "compare.json": b"{}"}


def test_a_comparison_holds_its_lock_until_it_ends(tmp_path: Path) -> None:
    refusals = []

    class Second(Progress):
        def stage(self, backend: str, what: str, total: int | None = None) -> None:
            super().stage(backend, what, total)
            with pytest.raises(VGGError, match="another process is at") as error, alone_in(tmp_path / "out"):
                pass
            refusals.append(error)

    task = Task(SPEC, RECIPE, data.load("digits"))
    comparing.compare(["oracle"], tmp_path / "out", task, Setup(keep=0), Second(quiet=True))
    assert len(refusals) >= 3
    with alone_in(tmp_path / "out"):
        pass


# What is printed and shown


def test_the_lines_of_a_resumed_run_are_those_of_an_undisturbed_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, out: Path
) -> None:
    api.train("oracle", SPEC, recipe=RECIPE, out=tmp_path / "calm")
    calm = capsys.readouterr().err
    api.train(resume=out)
    rough = capsys.readouterr().err

    def epochs(text: str) -> list[list[str]]:
        lines = [line.split(", ") for line in text.splitlines() if "training loss" in line]
        return [[part for part in parts if "images/s" not in part] for parts in lines]

    assert epochs(rough) == epochs(calm)[1:]
    assert len(epochs(calm)) == 2


def test_a_line_of_progress_weighs_the_steps_of_its_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.stage("torch", "training", 4)
    for number, (step, loss, images, seconds) in enumerate(
        [(0, 9.0, 8, 7.0), (1, 9.0, 8, 1.0), (0, 2.0, 8, 1.0), (1, 5.0, 4, 0.5)], 1
    ):
        row = {"epoch": 0, "step": step, "loss": loss, "images": images, "seconds": seconds, "number": number}
        progress.event("torch", row)
    assert progress._bar.tasks[0].fields["note"] == "loss 3.0000    8 images/s"
    results = {"test_loss": 1.0, "test_accuracy": 0.5, "training_loss": 3.0, "epoch": 1, "number": 4}
    progress.event("torch", results)
    assert "epoch 2: training loss 3.0000, 8 images/s, test loss 1.0000, accuracy 0.5000" in capsys.readouterr().err


def test_the_line_of_an_epoch_has_the_speed_of_all_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.stage("torch", "training", 40)
    for step in range(40):
        row = {"epoch": 0, "step": step, "loss": 1.0, "images": 8, "seconds": 3.0 if step < 20 else 1.0}
        progress.event("torch", {**row, "number": step + 1})
    progress.event("torch", {"test_loss": 1.0, "test_accuracy": 0.5, "training_loss": 1.0, "epoch": 0, "number": 40})
    assert "epoch 1: training loss 1.0000, 4 images/s" in capsys.readouterr().err


CLASSES = ["a", "b"]
EVALUATION = {"classes": CLASSES, "class_accuracy": [0.5, None], "confusion": [[1, 1], [0, 0]], "confusions": []}


@pytest.mark.parametrize("field", EVALUATION)
@pytest.mark.parametrize("value", [5, "ab", [5], [[1], [2]], {}, True, ["a", {}], [[1, 1], [0, "0"]]])
def test_an_evaluation_with_a_wrong_field_is_named(tmp_path: Path, field: str, value: Any) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({**EVALUATION, field: value}))
    with pytest.raises(VGGError, match=r"evaluation.json: (classes|confusion|confusions|class_accuracy): got"):
        evaluations({"oracle": tmp_path})


def test_an_evaluation_of_an_earlier_version_or_of_many_classes_is_read(tmp_path: Path) -> None:
    for part in ("confusion", "confusions"):
        kept = {name: value for name, value in EVALUATION.items() if name != part}
        (tmp_path / "evaluation.json").write_text(json.dumps(kept))
        assert evaluations({"oracle": tmp_path})["oracle"]["classes"] == CLASSES


def test_many_classes_train_and_are_reported(tmp_path: Path) -> None:
    done = api.train(
        "oracle", SPEC.modified(classes=3000), recipe=replace(RECIPE, epochs=1), out=tmp_path / "run", progress=False
    )
    assert (tmp_path / "run" / "evaluation.json").stat().st_size < 200_000
    page = done.report.read_text()
    assert "2999</th>" not in page
    assert "most frequent confusions" in page
    assert page.count("<td") < 500
