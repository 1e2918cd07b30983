"""Comparisons with several seeds, over the oracle: runs, failures, interruptions and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import vgg
from vgg import Block, Conv, Head, Spec, VGGError
from vgg.cli import main
from vgg.core import limits
from vgg.core.recipe import recipe
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report import html, rows, terminal
from vgg.runs import compare as comparing
from vgg.runs import options
from vgg.runs.collection import collect
from vgg.runs.options import Setup
from vgg.runs.train import Stopped
from vgg.training.checkpoints import alone_in

TINY = Spec((Block((Conv(4),)), Block((Conv(6),))), (1, 13, 10), 10, Head((9,), 0.5), name="tiny")
NAMES = ("oracle", "second")
JOB: dict[str, Any] = {"epochs": 1, "batch_size": 300, "lr": 0.05, "progress": False}
TIMES = {
    "date",
    "commit",
    "images_per_second",
    "epoch_seconds",
    "compile_seconds",
    "step_seconds",
    "seconds",
    "peak_bytes",
}
TIMES |= {"shares", "digests"}
FICKLE = """
import os
from vgg_oracle import *
from vgg_oracle import DECLARED, PRECISIONS, Learner

def learner(model, recipe):
    if str(recipe.seed) in os.environ.get("VGG_FICKLE", "").split(","):
        raise RuntimeError(f"no luck with seed {recipe.seed}")
    return Learner(model, recipe)
"""


class Killed(BaseException):
    """The end of a process that nobody expects."""


class Listener:
    """Writes down what it hears, and raises an exception at the first event of a run."""

    def __init__(self, run: str = "", error: type[BaseException] = Killed) -> None:
        self.run, self.error, self.heard = run, error, list[str]()

    def stage(self, backend: str, what: str, total: int | None = None) -> None:
        self.heard.append(f"{backend}: {what}")

    def event(self, backend: str, event: dict[str, Any]) -> None:
        if self.run and self.run in self.heard[-1]:
            raise self.error

    def trained(self) -> list[str]:
        """The lines about runs that were trained."""
        return [line.removesuffix(": training") for line in self.heard if line.endswith("training")]


@pytest.fixture(scope="module", autouse=True)
def backends(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The oracle under two names, and as a backend that fails with the seeds in ``VGG_FICKLE``."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "vgg_fickle.py").write_text(FICKLE)
    plugin = Path(__file__).parent / "plugin_backend"
    entries = {name: Entry(name, "vgg_oracle") for name in NAMES} | {"fickle": Entry("fickle", "vgg_fickle")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_OWN", entries)
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (folder, plugin))))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished comparison of two backends with two seeds."""
    place = tmp_path_factory.mktemp("finished") / "both"
    assert vgg.compare(NAMES, TINY, seeds=2, out=place, **JOB).ok
    return place


@pytest.fixture
def both(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished comparison."""
    return Path(shutil.copytree(finished, tmp_path / "both"))


def result(place: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((place / "compare.json").read_text())
    return loaded


def timeless(value: Any) -> Any:
    """A result without what differs from one machine or minute to the next."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in TIMES}
    if isinstance(value, list):
        speeds = [isinstance(part, dict) and part.get("quantity") == "images_per_second" for part in value]
        return [timeless(part) for part, speed in zip(value, speeds, strict=True) if not speed]
    return value


def begun(place: Path, listener: Listener, names: tuple[str, ...] = NAMES, count: int = 2, **setup: Any) -> None:
    """The comparison of ``finished``, with a listener that ends it."""
    plan = options.recipe_of(None, {name: value for name, value in JOB.items() if name != "progress"})
    comparing.compare(names, place, options.task(TINY, plan, None), Setup(**{"keep": 0, **setup}), listener, count)


# Runs


def test_every_backend_trains_with_every_seed_from_the_same_start(finished: Path) -> None:
    found = result(finished)
    assert found["seeds"] == [0, 1]
    weights = {}
    for name in NAMES:
        for seed in (0, 1):
            run = finished / name / f"seed-{seed}"
            assert json.loads((run / "run.json").read_text())["recipe"]["seed"] == seed
            weights[name, seed] = (run / "weights.safetensors").read_bytes()
    assert weights["oracle", 0] == weights["second", 0] != weights["oracle", 1] == weights["second", 1]


def test_a_column_is_the_first_seeds_and_has_the_runs_of_all(finished: Path) -> None:
    column = result(finished)["backends"]["oracle"]
    assert list(column["runs"]) == ["0", "1"]
    assert {name: column[name] for name in column["runs"]["0"]} == column["runs"]["0"]
    accuracies = [run["test_accuracy"] for run in column["runs"].values()]
    about = column["statistics"]["test_accuracy"]
    assert (about["count"], about["mean"]) == (2, pytest.approx(sum(accuracies) / 2))
    assert about["deviation"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)


def test_pairs_say_what_the_seeds_tell(finished: Path) -> None:
    pairs = {pair["quantity"]: pair for pair in result(finished)["pairs"]}
    assert [pair["backends"] for pair in pairs.values()] == [[*NAMES]] * 3
    assert {pair["count"] for pair in pairs.values()} == {2}
    assert pairs["test_accuracy"]["word"] == pairs["last_loss"]["word"] == "not distinguishable"


def test_seeds_are_the_outer_loop_and_progress_counts_runs(tmp_path: Path) -> None:
    listener = Listener()
    begun(tmp_path / "both", listener)
    assert listener.trained() == [
        "oracle: run 1 of 4, seed 0",
        "second: run 2 of 4, seed 0",
        "oracle: run 3 of 4, seed 1",
        "second: run 4 of 4, seed 1",
    ]
    proofs = [line for line in listener.heard if line.endswith("proving")]
    assert proofs == [f"{name}: run {number} of 4, seed 0: proving" for number, name in enumerate(NAMES, 1)]


def test_seeds_begin_with_the_recipes(tmp_path: Path) -> None:
    alone = vgg.compare(["oracle"], TINY, seeds=2, seed=7, out=tmp_path / "run", **JOB)
    assert alone.seeds == [7, 8]
    assert alone["oracle"].path == tmp_path / "run" / "oracle" / "seed-7"


def test_one_seed_leaves_everything_in_its_place(tmp_path: Path) -> None:
    both = vgg.compare(NAMES, TINY, out=tmp_path / "both", **JOB)
    assert both.seeds == [0]
    assert {path.name for path in both.path.iterdir()} == {"compare.json", "report.html", *NAMES}
    assert (both.path / "oracle" / "run.json").exists()
    assert {pair["word"] for pair in both.pairs} == {"too few runs"}
    assert both.statistics["oracle"]["last_loss"]["deviation"] is None
    assert both.runs["oracle"][0].metrics == both["oracle"].metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds: got 0, wanted an integer >= 1"),
        ({"seeds": limits.SEEDS + 1}, "--seeds: got 1001, wanted at most 1,000"),
        ({"seeds": 3, "seed": limits.SEED - 1}, "--seeds: got 3, wanted at most 2 from seed 18446744073709551614 on"),
    ],
)
def test_seeds_that_no_recipe_has_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(VGGError) as refusal:
        vgg.compare(["oracle"], TINY, out=tmp_path / "run", **options, **JOB)
    assert message in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


# Failures


def test_a_run_that_fails_is_missing_from_its_pairs_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VGG_FICKLE", "1")
    three = vgg.compare(["oracle", "fickle"], TINY, seeds=3, out=tmp_path / "run", **JOB)
    assert not three.ok
    assert list(three.runs["fickle"]) == [0, 2]
    assert "no luck with seed 1" in three.result["backends"]["fickle"]["failures"]["1"]
    assert {pair["count"] for pair in three.pairs} == {2}
    assert rows.failures(three.result)[0].startswith("fickle, seed 1, failed: ")
    page = three.report.read_text()
    assert "fickle with seed 1 failed; the reason is below." in page
    assert "no luck with seed 1" in page
    assert "(common seeds: 2)" in rows.pair_rows(three.result)[1][0][-1]
    monkeypatch.setenv("VGG_FICKLE", "")
    again = vgg.compare(resume=three.path, progress=False)
    assert again.ok
    assert {pair["count"] for pair in again.pairs} == {3}
    assert (three.path / "aside" / "fickle-seed-1-1" / "run.json").exists()


def test_a_backend_whose_first_run_fails_has_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VGG_FICKLE", "0")
    two = vgg.compare(["oracle", "fickle"], TINY, seeds=2, out=tmp_path / "run", **JOB)
    assert not two.ok
    with pytest.raises(KeyError, match="no luck with seed 0"):
        two["fickle"]
    assert list(two.runs["fickle"]) == [1]
    assert {(pair["count"], pair["word"]) for pair in two.pairs} == {(1, "too few runs")}
    assert "failed" in rows.texts(two.result)["test accuracy"]
    monkeypatch.setenv("VGG_FICKLE", "")
    again = vgg.compare(resume=two.path, progress=False)
    assert again.ok
    assert list(again.runs["fickle"]) == [0, 1]
    assert "error" not in again.result["backends"]["fickle"]


def test_a_backend_that_has_become_another_version_fails_by_name(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OWN", {**registry._OWN, "second": Entry("second", "vgg_newer")})
    plugin = both.parent / "newer"
    plugin.mkdir()
    newer = "\n\ndef facts():\n    import vgg_oracle\n    return {**vgg_oracle.facts(), 'framework': 'numpy 99'}\n"
    (plugin / "vgg_newer.py").write_text(FICKLE + newer)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ["PYTHONPATH"]]))
    three = vgg.compare(resume=both, seeds=3, progress=False)
    assert "second: facts.framework: got numpy 99, wanted numpy " in three.result["backends"]["second"]["failures"]["2"]
    assert list(three.runs["oracle"]) == [0, 1, 2]


# Interruptions


def test_a_finished_comparison_has_nothing_left_to_train(both: Path) -> None:
    before, listener = result(both), Listener()
    assert comparing.resume(both, None, listener) == before
    assert listener.heard == []


@pytest.mark.parametrize("run", ["run 1 of 4", "run 2 of 4", "run 3 of 4"])
def test_a_killed_comparison_goes_on_to_the_same_result(run: str, finished: Path, tmp_path: Path) -> None:
    place, number = tmp_path / "both", int(run.split()[1])
    with pytest.raises(Killed):
        begun(place, Listener(run))
    assert not result(place)["ok"]
    listener = Listener()
    comparing.resume(place, None, listener)
    assert [line.split(",")[0].partition(": ")[2] for line in listener.trained()] == [
        f"run {i} of 4" for i in range(number, 5)
    ]
    assert timeless(result(place)) == timeless(result(finished))
    name, seed = NAMES[(number - 1) % 2], (number - 1) // 2
    assert listener.heard[0] == f"unfinished run: kept in {place}/aside/{name}-seed-{seed}-1"
    assert (place / "aside" / f"{name}-seed-{seed}-1" / "run.json").exists()


def test_a_first_run_that_was_trained_and_not_proven_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise Killed

    place, listener = tmp_path / "both", Listener()
    with monkeypatch.context() as patch:
        patch.setattr(comparing, "prove", killed)
        with pytest.raises(Killed):
            begun(place, Listener(), ("oracle",), 1)
    assert list(result(place)["backends"]["oracle"]["runs"]) == ["0"]
    assert comparing.resume(place, None, listener)["ok"]
    assert listener.heard == ["oracle: starting", "oracle: proving"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(Stopped) as stop:
        begun(tmp_path / "both", Listener("run 2 of 4", KeyboardInterrupt))
    advice = f"go on with: vgg compare --resume {tmp_path}/both"
    assert str(stop.value) == f"stopped with 1 of 4 runs finished; {advice}"


def test_a_run_with_a_checkpoint_goes_on_from_it(finished: Path, tmp_path: Path) -> None:
    class Late(Listener):
        def event(self, backend: str, event: dict[str, Any]) -> None:
            if event.get("step") == 3:
                super().event(backend, event)

    place = tmp_path / "both"
    with pytest.raises(Killed):
        begun(place, Late("run 3 of 4"), keep=1, every=1)
    comparing.resume(place, None, Listener())
    run = json.loads((place / "oracle" / "seed-1" / "run.json").read_text())
    assert len(run["starts"]) == 2
    assert not (place / "aside").exists()
    weights = [(folder / "oracle" / "seed-1" / "weights.safetensors").read_bytes() for folder in (place, finished)]
    assert weights[0] == weights[1]


def test_two_processes_do_not_go_on_with_one_comparison(both: Path) -> None:
    with alone_in(both), pytest.raises(VGGError, match="another process is at"):
        vgg.compare(resume=both, progress=False)


# More seeds


def test_seeds_are_added_to_a_finished_comparison(both: Path) -> None:
    listener = Listener()
    found = comparing.resume(both, 3, listener)
    assert listener.trained() == ["oracle: run 5 of 6, seed 2", "second: run 6 of 6, seed 2"]
    assert (found["ok"], found["seeds"], found["pairs"][0]["count"]) == (True, [0, 1, 2], 3)


@pytest.mark.parametrize("crash", ["none", "made", "moved"])
def test_the_only_run_becomes_the_first_of_several(crash: str, tmp_path: Path, finished: Path) -> None:
    """Also if an earlier attempt to move it was cut off."""
    place = tmp_path / "run"
    begun(place, Listener(), ("oracle",), 1)
    moving = place / ".oracle.moving"
    if crash != "none":
        moving.mkdir()
    if crash == "moved":
        (place / "oracle").rename(moving / "seed-0")
    listener = Listener()
    found = comparing.resume(place, 2, listener)
    assert listener.trained() == ["oracle: run 2 of 2, seed 1"]
    assert {path.name for path in (place / "oracle").iterdir()} == {"seed-0", "seed-1"}
    assert not moving.exists()
    assert timeless(found["backends"]["oracle"]) == timeless(result(finished)["backends"]["oracle"])


# What is refused


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        contents = json.loads((place / name).read_text())
        change(contents)
        (place / name).write_text(json.dumps(contents, indent=1))

    return edit


def cut(name: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_bytes((place / name).read_bytes()[:-9])


def swap(place: Path) -> None:
    for one, two in (("seed-0", "x"), ("seed-1", "seed-0"), ("x", "seed-1")):
        (place / "oracle" / one).rename(place / "oracle" / two)


def column(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return edited("compare.json", lambda c: change(c["backends"]["oracle"]))


RUN = "oracle/seed-1"
HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn": (cut("compare.json"), "compare.json: got no JSON"),
    "no object": (lambda place: (place / "compare.json").write_text("[]"), "compare.json: got JSON of type list"),
    "missing": (lambda place: (place / "compare.json").unlink(), "both: not a comparison"),
    "earlier": (edited("compare.json", lambda c: c.pop("options")), "compare.json: options: got nothing, wanted "),
    "machine": (edited("compare.json", lambda c: c["machine"].update(cpu="abacus")), "machine.cpu: got "),
    "machine type": (
        edited("compare.json", lambda c: c.update(machine=5)),
        "machine: got 5, wanted a table",
    ),
    "seed type": (
        edited("compare.json", lambda c: c.update(seeds=["0", 1])),
        "seeds.0: got '0', wanted",
    ),
    "gap": (edited("compare.json", lambda c: c.update(seeds=[0, 2])), "seeds: got [0, 2], wanted integers that follow"),
    "no seed": (edited("compare.json", lambda c: c.update(seeds=[])), "seeds: got "),
    "other seed": (edited("compare.json", lambda c: c.update(seeds=[5, 6])), "backends.oracle: runs: got seed 0"),
    "unknown": (edited("compare.json", lambda c: c["options"]["backends"].append("x")), "unknown backend 'x'"),
    "twice": (edited("compare.json", lambda c: c["options"].update(backends=["oracle"] * 2)), "options.backends: got"),
    "device": (
        edited("compare.json", lambda c: c["options"].update(device="tpu")),
        "compare.json: options.device: got 'tpu'",
    ),
    "timeout": (
        edited("compare.json", lambda c: c["options"].update(timeout=-1)),
        "compare.json: options.timeout: got -1.0, wanted a number of seconds > 0",
    ),
    "a run less": (column(lambda c: c["runs"].pop("1")), "digests: got 0, 1, wanted 0, the seeds of the runs; put"),
    "first run less": (column(lambda c: c["runs"].pop("0")), "digests: got 0, 1, wanted 1, the seeds of the runs; put"),
    "a NaN": (column(lambda c: c.update(logits_error=float("nan"))), "backends.oracle.logits_error: got nan, wanted"),
    "spec": (
        edited("compare.json", lambda c: c["spec"].update(classes=11)),
        "compare.json: backends.oracle: parameters: got ",
    ),
    "recipe": (
        edited("compare.json", lambda c: c["recipe"].update(lr=0.5)),
        "run.json: recipe.lr: got 0.05, wanted",
    ),
    "recipe type": (edited("compare.json", lambda c: c["recipe"].update(lr="x")), "compare.json: recipe.lr: got 'x'"),
    "no lr": (edited("compare.json", lambda c: c["recipe"].pop("lr")), "compare.json: recipe.lr: got nothing"),
    "keep": (edited("compare.json", lambda c: c["options"].update(keep=3)), "run.json: keep: got 0, wanted 3"),
    "data": (edited("compare.json", lambda c: c["options"].update(digest="0")), "options.digest: got data with"),
    "accuracy": (column(lambda c: c["runs"]["1"].update(test_accuracy=0.9)), f"{RUN}/run.json: summary.test_accuracy"),
    "accuracy type": (column(lambda c: c["runs"]["1"].update(test_accuracy=5)), "test_accuracy"),
    "first": (column(lambda c: c.update(test_accuracy=0.9)), "backends.oracle: test_accuracy: got 0.9, wanted "),
    "proof": (
        column(lambda c: c.update(layers="many")),
        "oracle: layers: got 'many', wanted an integer or null",
    ),
    "facts": (column(lambda c: c.update(facts=5)), "backends.oracle: facts: got 5, wanted a table"),
    "run's recipe": (edited(f"{RUN}/run.json", lambda c: c["recipe"].update(lr=0.5)), f"{RUN}/run.json: recipe.lr"),
    "run's spec": (edited(f"{RUN}/run.json", lambda c: c["spec"].update(name="x")), f"{RUN}/run.json: spec.name"),
    "run's backend": (edited(f"{RUN}/run.json", lambda c: c.update(backend="second")), f"{RUN}/run.json: backend"),
    "run's facts": (edited(f"{RUN}/run.json", lambda c: c["facts"].update(x=1)), f"{RUN}/run.json: got a file that"),
    "rows": (cut(f"{RUN}/metrics.jsonl"), f"{RUN}/metrics.jsonl: got a file that was changed"),
    "weights": (cut(f"{RUN}/weights.safetensors"), f"{RUN}/weights.safetensors: got a file that was changed"),
    "no weights": (lambda place: (place / RUN / "weights.safetensors").unlink(), "weights.safetensors: cannot be read"),
    "no run": (lambda place: shutil.rmtree(place / RUN), f"{RUN}: not a run directory"),
    "swapped": (swap, "oracle/seed-0/run.json: recipe.seed: got 1, wanted 0"),
}


def deep(*path: Any, value: Any = None) -> Callable[[Path], None]:
    """Put ``value`` into ``compare.json`` in the place of what is at ``path``."""

    def change(contents: dict[str, Any]) -> None:
        for part in path[:-1]:
            contents = contents[part]
        contents[path[-1]] = value

    return edited("compare.json", change)


OF = ("backends", "oracle")
CONTRADICTIONS: dict[str, Callable[[Path], object]] = {
    "fewer layers agree": deep(*OF, "layers_agreeing", value=0),
    "negative layers": deep(*OF, "layers_agreeing", value=-5),
    "more layers": deep(*OF, "layers", value=999),
    "parameters": deep(*OF, "parameters", value=1),
    "a shape": deep(*OF, "shapes", "fc1", value=[1]),
    "no shapes": deep(*OF, "shapes", value={}),
    "another place": deep(*OF, "structure_at", value=[1, 5, 5]),
    "the logits": deep(*OF, "logits_error", value=0.5),
    "negative logits": deep(*OF, "logits_error", value=-1.0),
    "no logits": deep(*OF, "logits_error", value=None),
    "the gradients": deep(*OF, "gradient_error", value=0.5),
    "a layer": deep(*OF, "layer_errors", "fc1", value=0.5),
    "a layer beyond numbers": deep(*OF, "layer_errors", "fc1", value=None),
    "no layers": deep(*OF, "layer_errors", value={}),
    "a gradient": deep(*OF, "parameter_errors", "fc1.weight", value=0.5),
    "no gradients": deep(*OF, "parameter_errors", value={}),
    "nowhere": deep(*OF, "proven_at", value=[]),
    "a wide limit": deep(*OF, "layer_limit", value=1.0),
    "no limit": deep(*OF, "layer_limit", value=0.0),
    "a negative limit": deep(*OF, "parameter_limit", value=-1.0),
    "a reason": deep(*OF, "reason", value="flatten"),
    "a list of errors": deep(*OF, "layer_errors", value=[1]),
    "not ok": deep(*OF, "ok", value=False),
    "a run that failed too": deep(*OF, "failures", value={"0": "x"}),
    "a run without digests": deep(*OF, "digests", value={}),
}
"""Edits of a proof or of its runs which the rest of the file denies."""
WORDS: dict[str, Callable[[Path], object]] = {
    "a word": deep("pairs", 0, "word", value="different"),
    "an interval": deep("pairs", 0, "interval", value=[5.0, -5.0]),
    "a count": deep("pairs", 0, "count", value=-3),
    "no pairs": deep("pairs", value=[]),
    "a mean": deep(*OF, "statistics", "test_accuracy", "mean", value=99999.0),
    "no statistics": deep(*OF, "statistics", value={}),
}
"""Edits of what follows from the runs, which ``--resume`` computes anew."""


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["aside", ".oracle.moving"])
def test_what_stands_where_a_folder_belongs_is_to_be_moved(
    name: str, make: Callable[[Path], object], tmp_path: Path
) -> None:
    place = tmp_path / "both"
    with pytest.raises(Killed):
        begun(place, Listener("run 1 of 4"))
    make(place / name)
    with pytest.raises(VGGError) as refusal:
        comparing.resume(place, None, Listener())
    assert (
        str(refusal.value) == f"{place / name}: got something else, wanted a directory, or nothing; move it elsewhere"
    )


def test_another_network_is_named_on_standard_error(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, value in (("ok", False), ("reason", "structure: 0 of 8 layers")):
        deep(*OF, path, value=value)(both)
    assert main(["compare", "--resume", str(both)]) == 1
    assert "vgg: oracle is another network: structure: 0 of 8 layers" in capsys.readouterr().err


@pytest.mark.parametrize("edit", CONTRADICTIONS)
def test_a_comparison_that_denies_itself_does_not_go_on(edit: str, both: Path) -> None:
    CONTRADICTIONS[edit](both)
    with pytest.raises(VGGError, match=r"compare\.json: backends\.oracle: .*; "):
        comparing.resume(both, 3, Listener())


@pytest.mark.parametrize("edit", CONTRADICTIONS | WORDS)
def test_a_comparison_that_denies_itself_is_not_shown(edit: str, both: Path) -> None:
    assert collect([both]).comparison
    (CONTRADICTIONS | WORDS)[edit](both)
    with pytest.raises(VGGError, match=r"compare\.json: (backends\.oracle|pairs)[.:].*; "):
        collect([both])


@pytest.mark.parametrize("harm", ["rows", "weights", "no weights", "swapped", "run's recipe", "accuracy", "first"])
def test_runs_other_than_those_compared_are_not_shown(harm: str, both: Path) -> None:
    HARMS[harm][0](both)
    with pytest.raises(VGGError, match=r"compare\.json: "):
        collect([both])


def test_runs_that_stayed_elsewhere_are_named_on_the_page(both: Path) -> None:
    shutil.rmtree(both / RUN)
    page = html.document(collect([both]))
    assert "Not every run directory of oracle is here" in page
    assert "One network" in page


@pytest.mark.parametrize(
    ("runs", "word", "about"),
    [
        (0, None, "no finished run"),
        (1, "Unfinished", "1 of 4 runs are finished"),
        (2, "Unfinished", "2 of 4 runs are finished"),
        (3, "Unfinished", "3 of 4 runs are finished"),
        (4, "One network", "agree with the float64 oracle"),
    ],
)
def test_a_page_says_how_much_of_a_comparison_is_done(runs: int, word: str | None, about: str, tmp_path: Path) -> None:
    with suppress(Killed):
        begun(tmp_path / "both", Listener(f"run {runs + 1} of 4"))
    if word is None:
        with pytest.raises(VGGError, match=about):
            collect([tmp_path / "both"])
    else:
        page = html.document(collect([tmp_path / "both"]))
        assert f"<strong>{word}</strong>" in page
        assert about in page
        assert runs == 4 or "trains fastest, at" not in page


@pytest.mark.parametrize("harm", HARMS)
def test_a_comparison_that_was_changed_is_refused_by_name(harm: str, both: Path) -> None:
    change, message = HARMS[harm]
    change(both)
    before = {path: path.read_bytes() for path in both.rglob("*") if path.is_file()}
    with pytest.raises(VGGError) as refusal:
        comparing.resume(both, 3, Listener())
    assert message in str(refusal.value)
    assert str(both) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert {path: path.read_bytes() for path in both.rglob("*") if path.is_file()} == before


def test_other_data_are_refused(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, folder = options.read_data(recipe("quick"), None)
    dataset.test_labels[0] = 9 - dataset.test_labels[0]
    monkeypatch.setattr(options, "read_data", lambda *_: (dataset, folder))
    with pytest.raises(VGGError, match=r"options\.digest: got data with the digest"):
        comparing.resume(both, None, Listener())


def test_fewer_seeds_are_refused(both: Path) -> None:
    with pytest.raises(VGGError, match="--seeds: got 1, wanted at least 2, those that the comparison has"):
        vgg.compare(resume=both, seeds=1)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["oracle"], "backends"),
        (["--arch", "vgg11"], "arch"),
        (["--env", "auto"], "env"),
        (["--timeout", "900"], "timeout"),
        (["--epochs", "2", "--set", "momentum=0.5"], "epochs, momentum"),
        (["--recipe", "quick", "--out", "x"], "recipe, out"),
        (["--device", "cpu", "--tensorboard"], "device, tensorboard"),
    ],
)
def test_other_options_with_resume_are_refused_by_name(
    arguments: list[str], names: str, both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--resume", str(both), *arguments]) == 2
    assert f"vgg compare --resume: got {names} too, wanted at most --seeds" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_what_is_no_comparison_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--resume", path]) == 2
    assert f"vgg: {path}: not a comparison (no compare.json in it can be read)" in capsys.readouterr().err


# What is shown


EQUAL = "not distinguishable; equal up to rounding in every run"
RATIO = {"difference": 0.015, "interval": [-0.004, 0.02], "visible": 0.05}


def pair(word: str = "different", **more: Any) -> dict[str, Any]:
    about = {"quantity": "test_accuracy", "count": 5, "difference": 0.0123, "word": word}
    return {"backends": ["a", "b"], **about, "interval": [0.004, 0.02], "visible": 0.0099, **more}


@pytest.mark.parametrize(
    ("verdict", "cells"),
    [
        (pair(), ["test accuracy", "a - b", "+0.0123", "+0.0040 to +0.0200", "different"]),
        (
            pair("not distinguishable", difference=-0.001, interval=[-0.00005, 0.001]),
            [
                "test accuracy",
                "a - b",
                "-0.0010",
                "-5e-05 to +0.0010",
                "not distinguishable; 5 runs would have seen 0.0099",
            ],
        ),
        (
            pair("not distinguishable", quantity="images_per_second", ratio=RATIO),
            ["images/s", "a - b", "+1.5%", "-0.4% to +2.0%", "not distinguishable; 5 runs would have seen 5.0%"],
        ),
        (
            pair("too few runs", count=1, interval=None, visible=None, quantity="last_loss"),
            ["last training loss", "a - b", "+0.0123", "-", "too few runs (common seeds: 1)"],
        ),
        (
            pair("too few runs", count=0, difference=None, interval=None, visible=None),
            ["test accuracy", "a - b", "-", "-", "too few runs (common seeds: 0)"],
        ),
        (
            pair("not distinguishable", difference=0.0, interval=[0.0, 0.0], visible=0.0),
            ["test accuracy", "a - b", "+0.0000", "+0.0000 to +0.0000", "not distinguishable; the same in every run"],
        ),
        (
            pair("not distinguishable", difference=3e-16, interval=[-7e-16, 1.3e-15], visible=0.0),
            ["test accuracy", "a - b", "+3e-16", "-7e-16 to +1.3e-15", EQUAL],
        ),
        (
            pair("different", ratio={"difference": 2e-5, "interval": [1e-5, 1.7e9], "visible": 1.0}),
            ["test accuracy", "a - b", "+0.002%", "+0.001% to +1.7000e+11%", "different"],
        ),
    ],
)
def test_a_pair_is_a_row(verdict: dict[str, Any], cells: list[str]) -> None:
    assert rows.pair_rows({"seeds": [*range(5)], "pairs": [verdict]})[1] == [cells]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.0, 4, "0.0000"),
        (0.25, 4, "0.2500"),
        (2e-6, 4, "2e-06"),
        (-12345.678, 4, "-12345.6780"),
        (2023115013257698219072159744.0, 4, "2.0231e+27"),
        (0.4, 0, "0.4"),
        (824.4, 0, "824"),
    ],
)
def test_no_number_is_hidden_by_its_decimals_or_stretches_a_table(value: float, places: int, text: str) -> None:
    assert rows.fixed(value, places) == text


def test_a_loss_that_diverged_is_short(finished: Path) -> None:
    contents = result(finished)
    column = contents["backends"]["oracle"]
    column["first_loss"] = 3e30
    column["statistics"]["last_loss"] = {"count": 2, "mean": 2e27, "deviation": 1e-7}
    shown = rows.texts(contents)
    assert (shown["first training loss"][0], shown["last training loss"][0]) == ("3.0000e+30", "2.0000e+27 ± 1e-07")


def test_tables_have_means_deviations_and_verdicts(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.comparison(result(finished))
    shown = capsys.readouterr().out
    about = result(finished)["backends"]["oracle"]["statistics"]["test_accuracy"]
    assert f"{about['mean']:.4f} ± {about['deviation']:.4f}" in shown
    assert "oracle - second" in shown
    assert "not distinguishable; the same in every run" in shown
    assert "± is the standard deviation over 2 seeds; other rows are of seed 0" in shown


def test_a_notebook_shows_the_same_tables(finished: Path) -> None:
    page = vgg.runs.results.Comparison(finished, result(finished))._repr_html_()
    assert page.count("<table>") == 2
    assert "<td>oracle - second</td>" in page
    assert "<p>± is the standard deviation over 2 seeds" in page


def test_one_run_is_said_to_tell_nothing() -> None:
    one = {"seeds": [0], "backends": {"a": {}, "b": {}}, "pairs": [pair()]}
    assert rows.notes(one)[0].startswith("One run per backend tells nothing about which is more accurate")
    assert rows.notes({**one, "backends": {"a": {}}}) == []
    assert rows.pair_rows(one)[1] == []


def test_a_comparison_of_an_earlier_version_is_one_run(finished: Path) -> None:
    old = result(finished)
    for name in ("seeds", "pairs", "options"):
        del old[name]
    for one in old["backends"].values():
        for name in ("runs", "statistics", "digests", "failures"):
            del one[name]
    found = vgg.runs.results.Comparison(finished, old)
    assert (found.seeds, found.pairs, found.statistics) == ([0], [], {name: {} for name in NAMES})
    assert found.runs["oracle"][0].accuracy == found["oracle"].accuracy
    assert found["oracle"].path == finished / "oracle"
    assert "± " not in str(rows.texts(old))
