"""Options that contradict one another, paths with ``~``, runs that are refused, and errors that nobody foresaw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import vgg.runs.options
from vgg import Head, Recipe, Spec, VGGError, init, load_params, save_params
from vgg.cli import main
from vgg.cli import show as show_command
from vgg.cli.arguments import changes
from vgg.cli.parser import parser
from vgg.conformance import run as suite
from vgg.core import files
from vgg.core.documents import toml_fragment
from vgg.core.errors import BackendError, UnavailableError
from vgg.core.recipe import FIELDS
from vgg.process import client, environments, provenance, registry
from vgg.process.registry import Entry

SPEC = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((6,)))
API: Any = vgg
"""The package, to which a type checker lets us pass anything."""
FLAGS = {
    "dataset": ("digits", "synthetic"),
    "epochs": ("1", "2"),
    "batch-size": ("8", "16"),
    "lr": ("0.1", "0.2"),
    "seed": ("1", "2"),
    "init-from": ("a", "b"),
    "dropout": ("native", "neutral"),
    "precision": ("float32", "float64"),
}
"""Options of a run that are fields of its recipe, with two values."""


@pytest.fixture(autouse=True)
def no_frameworks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A backend that cannot start, and an empty folder and an empty home directory to work in."""

    def no_worker(*_: object, **__: object) -> None:
        raise BackendError("torch: there are no frameworks in this test")

    monkeypatch.setattr(client.Worker, "__init__", no_worker)
    monkeypatch.setattr(registry, "_OWN", {"torch": Entry("torch", "vgg_torch")})
    (tmp_path / "here").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def error(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one line that a command prints on standard error, and nothing else."""
    try:
        got = main(arguments)
    except SystemExit as stop:
        got = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert (got, out, len(err.splitlines())) == (status, "", 1), err
    return err


def test_every_flag_of_a_recipe_is_tried() -> None:
    options = vars(parser().parse_args(["train", "torch", "vgg11"]))
    assert {name.replace("_", "-") for name in FIELDS[1:] if name in options} == FLAGS.keys()


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize("flag", FLAGS)
def test_a_field_is_set_by_its_flag_or_by_set(flag: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = FLAGS[flag]
    field = flag.replace("-", "_")
    start = ["train", "torch", "vgg11"] if command == "train" else ["compare", "torch"]
    for value in (one, other):
        message = error(capsys, *start, f"--{flag}={one}", "--set", f"{field}={value}")
        assert message == f"vgg: --set: got {field}, which --{flag} sets too, wanted one of them\n"


def test_a_field_is_set_once(capsys: pytest.CaptureFixture[str]) -> None:
    message = error(capsys, "train", "torch", "vgg11", "--set", "lr=0.1", "--set", "lr=0.1")
    assert "--set: got lr, which another --set sets too, wanted one of them" in message


@pytest.mark.parametrize("command", ["show", "check", "train", "compare", "bench"])
def test_an_option_is_given_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    actions = next(a.choices[command]._actions for a in parser()._actions if a.dest == "command")  # type: ignore[index]
    for action in actions:
        if action.option_strings and action.nargs != 0 and action.dest not in ("set", "workload"):
            option, value = action.option_strings[-1], next(iter(action.choices or ["1"]))
            words = ["show", "vgg11"] if command == "show" else [command]
            assert f"{option}: got it twice, wanted it once" in error(capsys, *words, option, value, option, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["vgg11", "--input", "1x64x64", "--set", "size=32"],
            "recipe.size: got 32, wanted the input's, 64x64; set",
        ),
        (["net.json", "--set", "size=32"], "recipe.size: got 32, wanted the input's, 8x8; set one of size and input"),
        (["vgg11", "--input", "96x80x1"], "channels come first, as in 1x96x80"),
        (
            ["net.json", "--input", "96x80x3"],
            "input channels: got 96, wanted 1, as digits has; use --input 1x96x80, ch",
        ),
        (["vgg11", "--input", "224x224x3"], "spec.input_shape: got 224x224x3"),
        (["vgg11", "--set", "init=nobody"], "unknown initialiser 'nobody'"),
        (["vgg11", "--set", "lr=0.01\nmomentum=0.9"], "wanted FIELD=VALUE on one line"),
        (["vgg11", "--set", "lr=0.01 # momentum=0.9"], "recipe.lr: got '0.01 # momentum=0.9', wanted a number > 0"),
        (["vgg11", "--set", "lr=0.01, momentum = 0.9"], "recipe.lr: got '0.01, momentum = 0.9', wanted a number > 0"),
        (["vgg11", "--set", "lr=" + "1" * 20_000], "wanted FIELD=VALUE on one line"),
        (["UP.TOML", "--classes", "3"], "--classes: got 3, wanted at least 10, as digits has"),
        (
            ["vgg11", "--set", "init_convs=3"],
            "recipe.init_convs: got 3, wanted weights to take them from",
        ),
        (["vgg11", "--data", "."], "wanted no folder with digits, which needs no files; leave it out"),
        (["vgg11", "--dataset=synthetic", "--data", "."], "wanted no folder with synthetic, which needs no files"),
        (["vgg11", "--set", 'name="x"'], "unknown field of a recipe 'name'"),
        (
            ["vgg11", "--keep", "0", "--every", "3"],
            "--every: got 3, wanted 0 with --keep 0, which writes no",
        ),
        (["vgg11", "--timeout", "1e30"], "--timeout: got 1e+30, wanted a number of seconds > 0 and < "),
        (["vgg11", "--lr", "inf"], "recipe.lr: got inf, wanted a number > 0, and finite"),
        (["vgg11", "--lr", "1_0"], "got 1_0, wanted a number"),
        (["vgg11", "--lr", "\u0661"], "got \u0661, wanted a number"),
        (["net.yaml"], "ARCH: got 'net.yaml', wanted the name of an architecture, or a file whose name ends in .json"),
        (["vgg11", "--every", "9" * 11], f"--every: got {'9' * 11}, wanted a whole number from 0 to 1000000000"),
        (["vgg11", "--init-from", "nowhere"], "nowhere: not a readable safetensors file"),
        (["vgg11", "--tensorboard", "--tensorboard", "--replicas", "99"], "--replicas: got 99, wanted at most 32"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.json").write_text(SPEC.to_json())
    Path("UP.TOML").write_text(SPEC.to_toml())
    assert message in error(capsys, "train", "torch", *arguments)
    assert sorted(path.name for path in Path().iterdir()) == ["UP.TOML", "net.json"]


@pytest.mark.parametrize("out", [[], ["--out", "a/b/run"]])
@pytest.mark.parametrize("command", [["train", "torch", "vgg11"], ["train", "torch", "vgg11", "--json"]])
def test_a_backend_that_cannot_start_leaves_no_folder(
    command: list[str], out: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no frameworks" in error(capsys, *command, *out, status=1)
    assert list(Path().iterdir()) == []


def test_an_empty_folder_of_the_users_own_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    assert "no frameworks" in error(capsys, "train", "torch", "vgg11", "--out", "run", status=1)
    assert list(Path().iterdir()) == [Path("run")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("[1, 2]", [1, 2]),
        ('"x"', "x"),
        ("x", "x"),
        ("", ""),
        ("a#b", "a#b"),
        ("1 # x", "1 # x"),
        ("1} #", "1} #"),
        ("1, b = 2", "1, b = 2"),
        ("1}, c = {d = 2", "1}, c = {d = 2"),
        ("true", True),
        ("~/a b.safetensors", "~/a b.safetensors"),
    ],
)
def test_a_value_is_toml_as_a_whole_or_the_text_that_it_is(text: str, value: Any) -> None:
    assert toml_fragment(text) == value
    assert changes(parser().parse_args(["train", "--set", f"init={text}"])) == {"init": value}


def home(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command answers, with the home directory in place of its path."""
    main(arguments)
    return "".join(capsys.readouterr()).replace(str(Path.home()), "HOME")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["show", "~/net.toml", "--json"], '{"params": 500'),
        (["train", "torch", "~/net.toml", "--out", "~/full"], "HOME/full: got a directory with files in it"),
        (["train", "--resume", "~/full"], "HOME/full: not a run directory"),
        (["train", "torch", "vgg11", "--init-from", "~/none.pth"], "HOME/none.pth: not a readable safetensors file"),
        (["train", "torch", "vgg11", "--set", "init_from=~/none.pth"], "HOME/none.pth: not a readable"),
        (
            ["train", "torch", "vgg11", "--dataset=fashion-mnist", "--data", "~/full"],
            "HOME/full/train-images",
        ),
        (["compare", "torch", "--arch", "~/none.toml"], "HOME/none.toml: cannot be read as a spec"),
        (["compare", "torch", "--out", "~/full"], "HOME/full: got a directory with files in it"),
        (["compare", "torch", "--init-from", "~/none.pth"], "HOME/none.pth: not a readable safetensors file"),
        (["check", "torch", "--spec", "~/none.toml"], "HOME/none.toml: cannot be read as a spec"),
        (["check", "torch", "--junit", "~/full"], "--junit: got HOME/full, wanted a file"),
        (["bench", "torch", "--out", "~/net.toml"], "HOME/net.toml: got a file that is there"),
        (["bench", "torch", "--compare", "~/none.json"], "HOME/none.json: cannot be read as JSON"),
    ],
    ids=" ".join,
)
def test_every_path_may_begin_with_the_home_directory(
    arguments: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path.home().joinpath("net.toml").write_text(SPEC.to_toml())
    Path.home().joinpath("full").mkdir()
    Path.home().joinpath("full", "file").write_text("")
    assert answer in home(capsys, *arguments)
    assert not Path("~").exists()


def test_known_failures_may_be_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite itself reads that file; see test_inputs.py."""
    seen: list[str] = []

    def run(options: list[str], _jobs: int) -> None:
        seen.extend(options)
        raise BackendError("the suite is not run here")

    monkeypatch.setattr(suite, "run", run)
    Path.home().joinpath("known.toml").touch()
    assert main(["check", "torch", "--known", "~/known.toml", "--junit", "~/report.xml"]) == 1
    assert {f"--vgg-known={Path.home()}/known.toml", f"--junit-xml={Path.home()}/report.xml"} <= {*seen}


@pytest.mark.parametrize(
    "failure", [TypeError("a\nb\x1b[31m" * 500), RecursionError(), AttributeError("x"), KeyError(5)]
)
def test_what_nobody_foresaw_is_one_line_and_status_70(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise failure

    monkeypatch.setattr(show_command, "run", fail)
    message = error(capsys, "show", "vgg11", status=70)
    assert message.startswith(f"vgg: this is a bug in vgg, please report it ({type(failure).__name__}: ")
    assert message.endswith("; --debug shows where\n")
    assert len(message) < 700
    assert main(["show", "vgg11", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_too_little_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> int:
        raise MemoryError

    monkeypatch.setattr(show_command, "run", fail)
    assert "take a smaller network, input or batch" in error(capsys, "show", "vgg11", status=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: API.train("torch", SPEC, device="tpu"), "--device: got 'tpu', wanted cpu or gpu or auto"),
        (lambda: API.train("torch", SPEC, timeout=0), "--timeout: got 0, wanted a number of seconds > 0"),
        (lambda: API.train("torch", SPEC, keep=-1), "--keep: got -1, wanted an integer >= 0"),
        (lambda: API.train("torch", SPEC, tensorboard="yes"), "--tensorboard: got 'yes', wanted true or false"),
        (lambda: API.train("torch", SPEC, out=5), "--out: got 5, wanted a path"),
        (lambda: API.train("torch", SPEC, recipe=5), "unknown recipe '5'"),
        (lambda: API.train("torch", SPEC, epochs=10**12), "recipe.epochs: got 1000000000000, wanted at most 1,000,000"),
        (lambda: API.train("torch", 224), "ARCH: got 224, wanted a Spec, the name of an architecture, or the path"),
        (lambda: API.train(5, SPEC), "unknown backend '5'"),
        (lambda: API.compare(5, SPEC), "backends: got 5, wanted names of backends"),
        (lambda: API.compare([["torch"]], SPEC), "unknown backend"),
        (lambda: API.compare(["torch"], SPEC, replicas=0), "--replicas: got 0, wanted an integer >= 1"),
        (lambda: API.check(["torch"], jobs=0), "--jobs: got 0, wanted an integer >= 1"),
        (lambda: API.check(["torch"], seed=-1), "--seed: got -1, wanted an integer >= 0"),
        (lambda: API.check(["torch"], env="conda"), "--env: got 'conda', wanted auto or current or uv"),
        (lambda: API.check(["torch"], select=5), "-k: got 5, wanted a string"),
        (lambda: API.bench(["torch"], rounds=0), "--rounds: got 0, wanted an integer >= 1"),
        (lambda: API.bench(["torch"], precision="float64"), "--precision: got 'float64', wanted float32 or tf32"),
        (lambda: API.bench(["torch"], workload=5), "--workload: got 5, wanted a list of names"),
        (lambda: API.bench(["torch"], workload="vgg12"), "unknown workload 'vgg12'"),
        (lambda: API.show(None), "ARCH: got None"),
        (lambda: API.runs.options.Setup(env=None), "--env: got None"),
    ],
)
def test_a_wrong_argument_of_a_command_in_python_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(VGGError) as refusal:
        call()
    assert message in str(refusal.value)
    assert list(Path().iterdir()) == []


def test_weights_of_a_run_may_be_in_the_home_directory() -> None:
    save_params("~/weights.safetensors", init(SPEC), SPEC)
    with pytest.raises(BackendError, match="no frameworks"):
        vgg.train("torch", SPEC, recipe=Recipe(dataset="digits"), init_from="~", out="~/run")
    with pytest.raises(BackendError, match="no frameworks"):
        vgg.train("torch", SPEC, recipe=Recipe(dataset="digits", init_from="~"), out="~/run")
    assert [path.name for path in Path.home().iterdir()] == ["weights.safetensors"]


def test_json_of_show_is_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.json").write_text(json.dumps({**SPEC.to_dict(), "name": "\x1b[31m[/x]"}))
    assert main(["show", "net.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"]


@pytest.mark.parametrize("select", ["((", "a and", "not", "a(b=1)", "x or a(b=1)", "(" * 5000, "a b", "\0", "", " "])
def test_an_expression_that_is_none_is_refused_before_anything_runs(
    select: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error(capsys, "check", "torch", "-k", select)
    assert message.startswith("vgg: -k: got ")
    assert "wanted an expression" in message
    with pytest.raises(VGGError, match="wanted an expression"):
        API.check(["torch"], select=select)


def test_results_of_the_same_second_have_different_names() -> None:
    assert len({vgg.runs.options.new_path("torch") for _ in range(100)}) > 1


@pytest.mark.parametrize("zone", ["XXX-24", "XXX-99", "XXX30", "nowhere/none"])
def test_any_zone_of_time_will_do(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert vgg.runs.options.new_path("torch").name.startswith("torch-")
        assert provenance.provenance()["date"].endswith("+00:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("command", [["list"], ["env"], ["check", "torch", "-k", "claims"], ["compare", "torch"]])
def test_a_working_directory_that_is_gone_is_no_bug(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path.cwd().rmdir()
    status = main(command)
    assert (status, "bug in vgg" in capsys.readouterr().err) in ((0, False), (1, False), (2, False))


@pytest.mark.parametrize(("option", "value"), [("examples", 5), ("seed", 9), ("thorough", True)])
def test_on_a_spec_alone_nothing_is_drawn(option: str, value: Any) -> None:
    Path("net.json").write_text(SPEC.to_json())
    with pytest.raises(VGGError, match=f"--spec: got --{option} too, wanted one of them"):
        API.check(["torch"], spec="net.json", **{option: value})


def test_a_plug_in_without_a_lock_file_has_no_environment_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"mine: --env: got uv, wanted auto or current: the plug-in has no lock"):
        environments.launch(Entry("mine", "vgg_mine"), "uv", "/nowhere")


def test_a_cache_that_is_named_by_a_relative_path_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert files.cache() == Path.home() / ".cache" / "vgg"


def test_a_script_gets_weights_that_vgg_itself_would_load(tmp_path: Path) -> None:
    weights = {name: array.astype(np.float16) for name, array in init(SPEC).items()}
    save_file(weights, tmp_path / "half.safetensors", metadata={"spec": SPEC.to_json()})
    with pytest.raises(VGGError, match=r"half.safetensors: block1.conv1.bias: got F16"):
        vgg.runs.options.weights_of(SPEC, tmp_path / "half.safetensors")
    save_params(tmp_path / "nan.safetensors", {n: a * np.nan for n, a in init(SPEC).items()}, SPEC)
    with pytest.raises(VGGError, match="values not finite"):
        vgg.runs.options.weights_of(SPEC, tmp_path / "nan.safetensors")


def test_a_broken_spec_in_weights_is_named(tmp_path: Path) -> None:
    save_file(init(SPEC), tmp_path / "w.safetensors", metadata={"spec": "{{"})
    with pytest.raises(VGGError, match=r"w.safetensors: spec in its metadata: not JSON: .*; write it by vgg.save_par"):
        load_params(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "vgg: KNOWN: cannot be read as known failures (No such file"),
        ("[[", "vgg: KNOWN: not a readable TOML file"),
    ],
)
def test_a_file_of_known_failures_is_read_before_anything_runs(
    content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("KNOWN").write_text(content)
    assert error(capsys, "check", "torch", "--known", "KNOWN").startswith(message)
