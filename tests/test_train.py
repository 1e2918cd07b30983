"""The neutral training loop over the oracle, in this process: files, resumption, bookkeeping, and when it stops."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import importlib
import json
import math
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from vgg import Head, Recipe, Spec, VGGError, init, load_params, load_spec, shapes
from vgg.backends import VELOCITY
from vgg.core import oracle as yardstick
from vgg.core.errors import ContractError
from vgg.core.masks import masks
from vgg.core.resize import resize_matrix
from vgg.training import batches, data
from vgg.training.loop import run

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLUGIN = Path(__file__).with_name("plugin_backend")
SPEC = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(3, 13, 10), classes=7, head=Head((9,)), batch_norm=True)
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.05, momentum=0.9, weight_decay=1e-3, lr_drops=((2, 0.1),), seed=5)
TIMES = ("seconds", "epoch_seconds")
TRAIN, TEST = 20, 11
STEPS = math.ceil(TRAIN / RECIPE.batch_size)
SIZES = [8, 8, 4]
"""Images of the steps of an epoch."""
SETTINGS: dict[str, Any] = {"device": "cpu", "facts": {"framework": "numpy"}}

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The oracle as a backend module."""
    monkeypatch.syspath_prepend(PLUGIN)
    return importlib.import_module("vgg_oracle")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def train(oracle: Any, out: Path) -> Train:
    """A run of ``RECIPE`` into ``out``; gives the summary."""

    def trained(recipe: Recipe = RECIPE, *, spec: Spec = SPEC, into: Path = out, **options: Any) -> dict[str, Any]:
        into.mkdir(exist_ok=True)
        arguments: dict[str, Any] = {"backend": oracle, "arrays": examples(), "emit": lambda _: None, **SETTINGS}
        return run(**arguments | {"out": into, "spec": spec.to_dict(), "recipe": recipe.to_dict()} | options)

    return trained


def examples(train: int = TRAIN, test: int = TEST) -> dict[str, NDArray[np.generic]]:
    """The first images of the synthetic data set."""
    full = data.load("synthetic")
    return {
        "train_images": full.train_images[:train],
        "train_labels": full.train_labels[:train],
        "test_images": full.test_images[:test],
        "test_labels": full.test_labels[:test],
    }


def rows(out: Path) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without the times."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def description(out: Path) -> dict[str, Any]:
    """``run.json``, which any JSON parser can read."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return dict(json.loads((out / "run.json").read_text(), parse_constant=refuse))


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("checkpoints/*"))


def files(out: Path, *names: str) -> dict[str, Any]:
    """What must not depend on how often a run was interrupted; of it, what ``names`` say."""
    found = {"metrics": rows(out)} | {path.stem: tensors(path) for path in out.rglob("*.safetensors")}
    return {name: found[name] for name in names or found}


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    """{name: (dtype, bytes)}; the file's own bytes would not do, as safetensors writes metadata in any order."""
    return {name: (str(array.dtype), array.tobytes()) for name, array in load_file(path).items()}


def pixels(images: NDArray[np.generic]) -> NDArray[np.float64]:
    """What ``RECIPE`` makes of uint8 images: scaled, resized to ``SPEC``'s input."""
    down, across = (resize_matrix(*sizes) for sizes in zip(images.shape[2:], SPEC.input_shape[1:], strict=True))
    resized: NDArray[np.float64] = down @ (images.astype(np.float64) / 255) @ across.T
    return resized


def altered(oracle: Any, **functions: Any) -> SimpleNamespace:
    """The oracle with other functions in place of its own."""
    return SimpleNamespace(**{**vars(oracle), **functions})


def diverging(oracle: Any, fatal: int, value: float = math.nan) -> SimpleNamespace:
    """The oracle with a learner whose loss is ``value`` at step ``fatal``, counted from 0."""

    class Diverging(oracle.Learner):  # type: ignore[misc]
        def step(self, *batch: Any) -> float:
            return value if self.steps == fatal else super().step(*batch)

    return altered(oracle, learner=Diverging)


def stop_at(epoch: int, step: int | None = 0) -> Callable[[dict[str, Any]], None]:
    """An ``emit`` that interrupts the run at that step."""

    def emit(event: dict[str, Any]) -> None:
        if (event["epoch"], event.get("step")) == (epoch, step):
            raise KeyboardInterrupt

    return emit


def kill_after(number: int) -> Callable[[dict[str, Any]], None]:
    """An ``emit`` that ends the run, without a word, after so many steps."""

    def emit(event: dict[str, Any]) -> None:
        if event["number"] == number:
            raise KeyboardInterrupt

    return emit


# What a run leaves


def test_a_run_leaves_its_description_metrics_checkpoints_and_weights(train: Train, out: Path) -> None:
    train()
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints",
        "evaluation.json",
        "metrics.jsonl",
        "run.json",
        "weights.safetensors",
    ]


def test_run_json_tells_what_was_run_and_how_it_ended(train: Train, out: Path) -> None:
    summary = train()
    text = description(out)
    assert Spec.from_dict(text["spec"]) == SPEC
    assert Recipe.from_dict(text["recipe"]) == RECIPE
    assert {key: text[key] for key in SETTINGS} == SETTINGS
    assert text["summary"] == summary


def test_run_json_keeps_what_others_wrote_into_it(train: Train, out: Path) -> None:
    out.mkdir()
    (out / "run.json").write_text('{"dataset": "synthetic"}')
    train()
    assert description(out)["dataset"] == "synthetic"


def test_run_json_is_there_from_the_start_without_a_summary(train: Train, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(0))
    assert description(out)["summary"] is None


def test_metrics_have_a_row_a_step_and_one_a_test(train: Train, out: Path) -> None:
    train()
    wanted = [(epoch, step) for epoch in range(RECIPE.epochs) for step in [*range(STEPS), None]]
    assert [(row["epoch"], row.get("step")) for row in rows(out)] == wanted


def test_metrics_tell_the_learning_rate_of_each_epoch(train: Train, out: Path) -> None:
    train()
    got = [row["lr"] for row in rows(out) if "lr" in row]
    assert got == [RECIPE.lr_at(epoch) for epoch in range(RECIPE.epochs) for _ in range(STEPS)]


def test_every_row_is_emitted_with_the_images_of_its_step(train: Train, out: Path) -> None:
    events: list[dict[str, Any]] = []
    train(emit=events.append)
    own = ("images", "number", "training_loss", *TIMES)
    assert [{k: v for k, v in event.items() if k not in own} for event in events] == rows(out)
    assert [event["images"] for event in events if "step" in event] == [8, 8, 4] * RECIPE.epochs
    assert [event["number"] for event in events] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9]


def test_the_summary_agrees_with_the_metrics(train: Train, out: Path) -> None:
    summary = train()
    losses = [row["loss"] for row in rows(out) if "loss" in row]
    assert summary["first_loss"] == losses[0]
    assert summary["last_loss"] == pytest.approx(np.dot(losses[-STEPS:], SIZES) / TRAIN, rel=1e-12)
    assert summary["test_accuracy"] == rows(out)[-1]["test_accuracy"]


def test_speed_is_images_by_time_without_the_first_step_of_each_size(train: Train, out: Path) -> None:
    summary = train()
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    seconds = [row["seconds"] for row in lines if "seconds" in row]
    sizes = SIZES * RECIPE.epochs
    images, time = (sum(some[1:2] + some[3:]) for some in (sizes, seconds))
    assert summary["images_per_second"] == pytest.approx(images / time, rel=1e-12)
    assert summary["step_seconds"] == pytest.approx(RECIPE.batch_size * time / images, rel=1e-12)
    longer = [max(seconds[i] - sizes[i] * time / images, 0.0) for i in (0, 2)]
    assert summary["compile_seconds"] == pytest.approx(sum(longer), rel=1e-9)


@pytest.mark.parametrize("place", [(0, 1), (1, 0), (1, STEPS - 1), (2, None)])
def test_a_resumed_run_tells_of_each_epoch_what_an_undisturbed_one_tells(
    train: Train, tmp_path: Path, place: tuple[int, int | None]
) -> None:
    events: dict[str, list[dict[str, Any]]] = {"calm": [], "rough": []}

    def listen(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda event: None if "step" in event else events[name].append(event)

    train(into=tmp_path / "calm", emit=listen("calm"))
    with pytest.raises(KeyboardInterrupt):
        train(into=tmp_path / "rough", every=1, emit=stop_at(*place))
    train(into=tmp_path / "rough", every=1, emit=listen("rough"))
    calm, rough = ({event["epoch"]: event["training_loss"] for event in events[name]} for name in events)
    assert {**calm, **rough} == calm
    losses = [row["loss"] for row in rows(tmp_path / "calm") if "loss" in row]
    assert calm[2] == pytest.approx(np.dot(losses[-STEPS:], SIZES) / TRAIN, rel=1e-12)


def test_an_epochs_seconds_are_its_steps_and_what_is_between(train: Train, out: Path) -> None:
    summary = train()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [line["epoch_seconds"] for line in lines if "test_loss" in line]
    steps = [sum(line["seconds"] for line in lines if "loss" in line and line["epoch"] == n) for n in range(3)]
    assert all(whole > parts for whole, parts in zip(epochs, steps, strict=True))
    assert summary["epoch_seconds"] == np.median(epochs[1:])


def test_an_epoch_that_was_interrupted_has_no_time(train: Train, out: Path) -> None:
    stopping = iter([False, True])
    train(stopping=lambda: next(stopping))
    train()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch_seconds"] is None for line in lines if "test_loss" in line] == [True, False, False]


def test_speed_counts_no_image_twice_where_the_batch_is_larger_than_the_data(train: Train) -> None:
    summary = train(arrays=examples(train=5))
    assert summary["images_per_second"] == 5 / summary["step_seconds"]


def test_the_loss_falls(train: Train) -> None:
    summary = train(dataclasses.replace(RECIPE, epochs=6))
    assert summary["last_loss"] < 0.7 * summary["first_loss"]


def test_the_first_loss_is_that_of_the_initial_parameters_on_the_first_batch(train: Train) -> None:
    spec, arrays = SPEC.modified(dropout=0), examples()
    summary = train(spec=spec)
    chosen = next(batches.batches(TRAIN, RECIPE.batch_size, RECIPE.seed, epoch=0))
    images, labels = pixels(arrays["train_images"][chosen]), arrays["train_labels"][chosen]
    params = init(spec, RECIPE.seed, RECIPE.init)
    wanted, _, _ = yardstick.loss_and_grads(spec, params, images, labels, yardstick.Mode(train=True))
    assert summary["first_loss"] == pytest.approx(wanted, rel=1e-12)


def test_two_runs_give_the_same_bits(train: Train, tmp_path: Path) -> None:
    train(into=tmp_path / "one")
    train(into=tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


# Weights and accuracy


def test_the_weights_carry_their_spec_and_are_those_of_the_last_checkpoint(train: Train, out: Path) -> None:
    train()
    assert load_spec(out / "weights.safetensors") == SPEC
    last = tensors(out / "checkpoints" / "epoch-0003-step-000000.safetensors")
    assert tensors(out / "weights.safetensors") == {name: last[name] for name in shapes(SPEC)}


def test_the_test_accuracy_is_what_the_oracle_gets_from_the_weights(train: Train, out: Path) -> None:
    summary, arrays = train(), examples()
    weights = load_params(out / "weights.safetensors")
    logits = yardstick.forward(SPEC, weights, pixels(arrays["test_images"])).logits
    assert summary["test_accuracy"] == (logits.argmax(axis=1) == arrays["test_labels"]).mean()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
def test_padding_the_last_batch_changes_neither_loss_nor_accuracy(train: Train, out: Path, count: int) -> None:
    arrays = examples(test=count)
    train(dataclasses.replace(RECIPE, epochs=1), arrays=arrays)
    weights = load_params(out / "weights.safetensors")
    logits = yardstick.forward(SPEC, weights, pixels(arrays["test_images"])).logits
    assert rows(out)[-1] == {
        "epoch": 0,
        "test_loss": pytest.approx(yardstick.cross_entropy(logits, arrays["test_labels"])[0], rel=1e-6),
        "test_accuracy": (logits.argmax(axis=1) == arrays["test_labels"]).mean(),
    }


@pytest.mark.parametrize(("count", "size"), [(5, 5), (8, 8), (11, 8), (17, 8)])
def test_every_evaluation_has_the_same_number_of_images(train: Train, oracle: Any, count: int, size: int) -> None:
    sizes: set[int] = set()

    class Watched(oracle.Learner):  # type: ignore[misc]
        def evaluate(self, x: NDArray[np.generic]) -> Any:
            sizes.add(len(x))
            return super().evaluate(x)

    train(arrays=examples(test=count), backend=altered(oracle, learner=Watched))
    assert sizes == {size}


# Checkpoints and going on


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("step", [0, STEPS - 1, None], ids=["first step", "last step", "test"])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    train: Train, out: Path, tmp_path: Path, epoch: int, step: int | None
) -> None:
    train(into=tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(epoch, step))
    train()
    assert files(out) == files(tmp_path / "undisturbed")


def test_neutral_masks_are_drawn_by_the_step_through_all_epochs(train: Train, out: Path, oracle: Any) -> None:
    given: list[bytes] = []

    class Spy(oracle.Learner):  # type: ignore[misc]
        def step(self, x: Any, y: Any, lr: float, masks: Any = None) -> float:
            given.append(masks["fc1.dropout"].tobytes())
            return float(super().step(x, y, lr, masks))

    train(dataclasses.replace(RECIPE, dropout="neutral"), backend=altered(oracle, learner=Spy))
    sizes = [8, 8, 4] * RECIPE.epochs
    assert given == [masks(SPEC, n, RECIPE.seed, i)["fc1.dropout"].tobytes() for i, n in enumerate(sizes)]


def test_a_run_whose_last_line_was_torn_goes_on(train: Train, out: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(2))
    with (out / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"epoch": 2, "st')
    train()
    train(into=tmp_path / "undisturbed")
    assert files(out) == files(tmp_path / "undisturbed")


def test_what_a_killed_process_left_half_written_goes_with_the_next_life(train: Train, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(2))
    torn = [out / ".weights.safetensors.123", out / "checkpoints" / ".epoch-0002-step-000000.safetensors.123"]
    for path in torn:
        path.write_bytes(b"half")
    train()
    assert not any(path.exists() for path in torn)
    assert (out / "weights.safetensors").exists()


def test_a_run_that_goes_on_elsewhere_tells_where_it_was_before(train: Train, out: Path) -> None:
    for place in ("here", "here", "there"):
        train(facts={"framework": "numpy", "devices": (place,)})
    found = description(out)
    assert found["facts"]["devices"] == ["there"]
    assert [facts["devices"] for facts in found["earlier_facts"]] == [["here"]]


def test_a_run_that_goes_on_takes_no_step_twice(train: Train) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(2))
    events: list[dict[str, Any]] = []
    train(emit=events.append)
    assert [(event["epoch"], event.get("step")) for event in events] == [(2, 0), (2, 1), (2, 2), (2, None)]


def test_a_finished_run_is_left_as_it_was(train: Train, out: Path) -> None:
    summary, before = train(), files(out)
    again = train(emit=stop_at(0))
    assert files(out) == before
    moving = {"peak_bytes": 0, "shares": {}}
    assert again | moving == summary | moving


def test_a_finished_run_can_be_given_more_epochs(train: Train, out: Path, tmp_path: Path) -> None:
    longer = dataclasses.replace(RECIPE, epochs=RECIPE.epochs + 1)
    train()
    train(longer)
    train(longer, into=tmp_path / "at once")
    assert files(out) == files(tmp_path / "at once")


@pytest.mark.parametrize("keep", [1, 2, 3, 4])
def test_only_the_last_checkpoints_stay(train: Train, out: Path, keep: int) -> None:
    train(keep=keep)
    assert checkpoints(out) == [f"epoch-{epoch:04d}-step-000000.safetensors" for epoch in (1, 2, 3)][-keep:]


def test_a_run_may_keep_no_checkpoints(train: Train, out: Path) -> None:
    train(keep=0)
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json",
        "metrics.jsonl",
        "run.json",
        "weights.safetensors",
    ]


def test_a_run_without_checkpoints_begins_again_in_its_first_epoch_and_keeps_what_it_cuts(
    train: Train, out: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(keep=0, emit=stop_at(0, 2))
    before = (out / "metrics.jsonl").read_text()
    train(keep=0)
    assert (out / "metrics.jsonl.cut").read_text() == before
    train(keep=0, into=tmp_path / "undisturbed")
    assert files(out) == files(tmp_path / "undisturbed")


def test_a_run_without_checkpoints_does_not_begin_again_after_its_first_epoch(train: Train, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(keep=0, emit=stop_at(1))
    before = (out / "metrics.jsonl").read_bytes()
    with pytest.raises(VGGError, match=r"run: got 5 rows of metrics and no checkpoint, wanted a checkpoint to go on"):
        train(keep=0)
    assert (out / "metrics.jsonl").read_bytes() == before


def test_what_a_resumed_run_takes_again_is_kept_aside(train: Train, out: Path) -> None:
    for place in ((1, 1), (2, None)):
        with pytest.raises(KeyboardInterrupt):
            train(emit=stop_at(*place))
    with (out / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"epoch": 2, "st')
    train()
    cut = (out / "metrics.jsonl.cut").read_text().splitlines()
    places = [(row["epoch"], row.get("step")) for row in map(json.loads, cut[:-1])]
    assert places == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, None)]
    assert cut[-1] == '{"epoch": 2, "st'


@pytest.mark.parametrize("mine", [".draft.2", ".weights.safetensors.old", "notes.txt", ".run.json.2/note"])
def test_only_what_the_program_made_is_removed(train: Train, out: Path, mine: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(emit=stop_at(2))
    paths = [out / mine, out / "checkpoints" / mine, out / "checkpoints" / "epoch-0000-best.safetensors"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    train(keep=1)
    assert [path.read_bytes() for path in paths] == [b"mine"] * 3


@pytest.mark.parametrize("kill", ["empty", "half"])
def test_a_run_killed_at_its_first_checkpoint_begins_again(
    train: Train, out: Path, tmp_path: Path, kill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its first epoch nothing is lost but time."""

    def killed(path: Path, data: bytes, name: Path) -> None:
        if kill == "half":
            (path.parent / f".{path.name}.77").write_bytes(data[:9])
        raise KeyboardInterrupt

    monkeypatch.setattr("vgg.training.checkpoints.write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        train()
    monkeypatch.undo()
    assert not (out / "checkpoints").exists()
    train()
    train(into=tmp_path / "undisturbed")
    assert files(out) == files(tmp_path / "undisturbed")
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_a_checkpoint_holds_parameters_velocities_and_the_place(train: Train, out: Path) -> None:
    train()
    state = load_file(out / "checkpoints" / "epoch-0002-step-000000.safetensors")
    trained = [name for name in shapes(SPEC) if not name.endswith(("running_mean", "running_var"))]
    assert state.keys() == {*shapes(SPEC), *(VELOCITY + name for name in trained), "step"}
    assert int(state["step"]) == 2 * STEPS


# Within epochs


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("number", range(1, RECIPE.epochs * STEPS))
def test_a_run_killed_at_any_step_goes_on_to_the_same_bits(
    train: Train, out: Path, tmp_path: Path, number: int, every: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(every=every, emit=kill_after(number))
    events: list[dict[str, Any]] = []
    train(every=every, emit=events.append)
    train(into=tmp_path / "undisturbed")
    assert files(out, "metrics", "weights") == files(tmp_path / "undisturbed", "metrics", "weights")
    assert len([event for event in events if "step" in event]) <= RECIPE.epochs * STEPS - number + every


@pytest.mark.parametrize("number", range(1, RECIPE.epochs * STEPS + 1))
def test_a_run_that_is_told_to_stop_writes_a_checkpoint_and_leaves(
    train: Train, out: Path, tmp_path: Path, number: int
) -> None:
    asked = iter(range(number))
    stopped = train(stopping=lambda: next(asked) == number - 1)
    assert stopped == {"stopped": ((number - 1) // STEPS, (number - 1) % STEPS + 1)}
    assert not (out / "weights.safetensors").exists()
    train()
    train(into=tmp_path / "undisturbed")
    assert files(out, "metrics", "weights") == files(tmp_path / "undisturbed", "metrics", "weights")


# Validation, plateau, crops


def test_held_out_images_are_not_trained_on_and_are_what_epochs_are_judged_on(train: Train, out: Path) -> None:
    events: list[dict[str, Any]] = []
    train(dataclasses.replace(RECIPE, validation=0.3), emit=events.append)
    assert [event["images"] for event in events if "step" in event] == [8, 6] * RECIPE.epochs
    judged = [row for row in rows(out) if "step" not in row]
    assert [row.keys() for row in judged] == [{"epoch", "validation_loss", "validation_accuracy"}] * RECIPE.epochs


def test_a_plateau_lowers_the_rate_also_after_going_on(train: Train, out: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=4, lr=1e-9, lr_drops=(), validation=0.3, plateau=(0.5, 1))
    train(recipe, into=tmp_path / "undisturbed")
    rates = [row["lr"] for row in rows(tmp_path / "undisturbed") if row.get("step") == 0]
    assert rates == [1e-9, 1e-9, 5e-10, 2.5e-10]
    with pytest.raises(KeyboardInterrupt):
        train(recipe, emit=stop_at(2))
    train(recipe)
    assert files(out) == files(tmp_path / "undisturbed")


def test_with_validation_the_test_images_are_only_for_the_end(train: Train, out: Path) -> None:
    summary, arrays = train(dataclasses.replace(RECIPE, validation=0.3)), examples()
    logits = yardstick.forward(SPEC, load_params(out / "weights.safetensors"), pixels(arrays["test_images"])).logits
    assert summary["test_accuracy"] == (logits.argmax(axis=1) == arrays["test_labels"]).mean()


def test_training_sees_crops_and_evaluation_the_middle(train: Train, oracle: Any) -> None:
    seen: dict[str, set[tuple[int, ...]]] = {"step": set(), "evaluate": set()}

    class Watched(oracle.Learner):  # type: ignore[misc]
        def step(self, x: Any, *batch: Any) -> float:
            seen["step"].add(x.shape[1:])
            return float(super().step(x, *batch))

        def evaluate(self, x: Any) -> Any:
            seen["evaluate"].add(x.shape[1:])
            return super().evaluate(x)

    train(dataclasses.replace(RECIPE, crop=0.75), backend=altered(oracle, learner=Watched))
    assert seen == {"step": {(3, 18, 15)}, "evaluate": {(3, 18, 15)}}


def test_evaluation_json_agrees_with_the_summary_and_names_the_classes(train: Train, out: Path) -> None:
    summary = train(class_names=tuple("abcdefg"))
    found = json.loads((out / "evaluation.json").read_text())
    assert found["accuracy"] == summary["test_accuracy"]
    assert (found["classes"], np.sum(found["confusion"])) == (list("abcdefg"), TEST)


def test_the_shares_of_time_are_of_the_whole(train: Train) -> None:
    shares = train()["shares"]
    assert shares.keys() == {"step", "evaluation", "checkpoint", "other"}
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0


def test_a_long_evaluation_gives_signs_of_life(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgg.training.loop.SIGN", -1.0)
    events: list[dict[str, Any]] = []
    train(emit=events.append)
    assert events.count({}) == RECIPE.epochs * math.ceil(TEST / RECIPE.batch_size)


# Runs that fail


def test_two_processes_in_one_run_are_one_too_many(train: Train, out: Path) -> None:
    def again(event: dict[str, Any]) -> None:
        if event["number"] == 1:
            train()

    with pytest.raises(VGGError, match="run: got a run that another process is at, wanted one alone; end that first"):
        train(emit=again)


def failing(oracle: Any, error: Exception, fits: int) -> SimpleNamespace:
    """The oracle with a learner that raises ``error`` for batches of more than ``fits``, and is of no use after."""

    class Failing(oracle.Learner):  # type: ignore[misc]
        failed = False

        def step(self, x: Any, *batch: Any) -> float:
            if self.failed:
                raise RuntimeError("buffer has been deleted or donated")
            if len(x) > fits:
                self.failed = True
                raise error
            return float(super().step(x, *batch))

    return altered(oracle, learner=Failing)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 100 bytes."),
        RuntimeError("src/storage/./cpu_device_storage.h:75: Failed to allocate CPU Memory"),
    ],
    ids=["python", "torch gpu", "torch cpu", "xla", "mxnet"],
)
@pytest.mark.parametrize(
    ("fits", "advice"), [(7, "4 does"), (3, "2 does"), (0, "not even 1 does, so take a smaller network or input")]
)
def test_out_of_memory_says_what_batch_would_fit(
    train: Train, oracle: Any, error: Exception, fits: int, advice: str
) -> None:
    with pytest.raises(VGGError, match=f"^--batch-size: got out of memory with 8, wanted one that fits; {advice}$"):
        train(backend=failing(oracle, error, fits))


def test_out_of_memory_in_an_evaluation_is_told(train: Train, oracle: Any) -> None:
    class Full(oracle.Learner):  # type: ignore[misc]
        def evaluate(self, x: Any) -> Any:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(VGGError, match=r"^--batch-size: got out of memory evaluating 8, wanted fewer$"):
        train(backend=altered(oracle, learner=Full))


def test_another_error_in_a_step_is_passed_on(train: Train, oracle: Any) -> None:
    with pytest.raises(ValueError, match="no kernel"):
        train(backend=failing(oracle, ValueError("no kernel"), 0))


def test_parameters_that_are_not_finite_are_not_checkpointed(train: Train, oracle: Any, out: Path) -> None:
    class Spoilt(oracle.Learner):  # type: ignore[misc]
        def state(self) -> Any:
            return {**super().state(), "fc1.bias": np.full(9, math.nan if self.steps > STEPS else 0.0)}

    with pytest.raises(
        VGGError,
        match=r"^fc1\.bias is not finite before epoch 3, step 1; .*; --init-from takes the last good checkpoint, .*$",
    ):
        train(backend=altered(oracle, learner=Spoilt))
    assert checkpoints(out) == ["epoch-0001-step-000000.safetensors"]


def test_parameters_that_are_not_finite_end_a_run_without_checkpoints_too(train: Train, oracle: Any, out: Path) -> None:
    """Losses stay finite where a ReLU or a max-pool makes a number of NaN."""

    class Dead(oracle.Learner):  # type: ignore[misc]
        def state(self) -> Any:
            return {**super().state(), "fc1.bias": np.full(9, math.nan)}

    with pytest.raises(VGGError, match=r"^fc1\.bias is not finite before epoch 2, step 1; "):
        train(backend=altered(oracle, learner=Dead), keep=0)
    assert checkpoints(out) == []


@pytest.mark.parametrize("wrong", [None, 0.5, np.ones(3), np.ones((1, 2)), np.ones((60, 7), int)])
def test_logits_that_are_none_break_the_contract(train: Train, oracle: Any, wrong: Any) -> None:
    class Odd(oracle.Learner):  # type: ignore[misc]
        def evaluate(self, x: Any) -> Any:
            return wrong

    with pytest.raises(ContractError, match=r"evaluate\(\): got .*, wanted floats of shape \(\d+, \d+\)"):
        train(backend=altered(oracle, learner=Odd), keep=0)


def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room(train: Train, out: Path, tmp_path: Path) -> None:
    """A limit on the size of files is the full disk that a test can have: the write stops in the middle."""
    train(dataclasses.replace(RECIPE, epochs=1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(VGGError, match=r"cannot be written \(File too large\); raise the limit on"):
            train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(out) == ["epoch-0001-step-000000.safetensors"]
    assert list(out.glob(".*")) == []
    train()
    train(into=tmp_path / "undisturbed")
    assert files(out) == files(tmp_path / "undisturbed")


def test_a_folder_that_cannot_be_written_to_is_named(train: Train, out: Path) -> None:
    out.mkdir()
    (out / "checkpoints").write_text("in the way")
    with pytest.raises(VGGError, match=r"run/checkpoints: got a file, wanted a directory; move it elsewhere$"):
        train()


def test_a_disk_without_locks_will_do(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def lockless(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", lockless)
    assert train()["test_accuracy"] >= 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(train: Train, oracle: Any, value: float) -> None:
    reason = (
        rf"^loss is {value} at epoch 2, step 3; start again with a smaller learning rate than 0\.05, or a"
        r" smaller weight decay than 0\.001; .*epoch-0001.*$"
    )
    with pytest.raises(VGGError, match=reason):
        train(backend=diverging(oracle, STEPS + 2, value))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"std": 1e-320}, r"pixels are \(value / 255 - 0\) / 9.99989e-321"),
        ({"init": "paper"}, "weights are drawn by paper"),
        ({"precision": "fp16"}, "the arithmetic is fp16"),
    ],
)
def test_a_first_loss_that_is_not_finite_is_not_blamed_on_the_learning_rate(
    train: Train, oracle: Any, changes: dict[str, Any], cause: str
) -> None:
    message = rf"^loss is nan at epoch 1, step 1, before any update, so the learning rate is not the cause; .*{cause}"
    with pytest.raises(VGGError, match=message) as refusal:
        train(dataclasses.replace(RECIPE, **changes), backend=diverging(oracle, 0))
    assert "smaller learning rate" not in str(refusal.value)


def test_a_run_that_diverged_keeps_its_last_checkpoint_and_the_metrics_until_then(
    train: Train, oracle: Any, out: Path
) -> None:
    with pytest.raises(VGGError):
        train(backend=diverging(oracle, STEPS + 2))
    assert checkpoints(out) == ["epoch-0001-step-000000.safetensors"]
    assert [(row["epoch"], row.get("step")) for row in rows(out)[-3:]] == [(0, None), (1, 0), (1, 1)]
    assert not (out / "weights.safetensors").exists()


def test_logits_that_are_not_finite_at_the_test_stop_the_run(train: Train, oracle: Any, out: Path) -> None:
    class Spoilt(oracle.Learner):  # type: ignore[misc]
        def evaluate(self, x: NDArray[np.generic]) -> Any:
            return np.full((len(x), SPEC.classes), np.nan)

    with pytest.raises(
        VGGError,
        match=r"^test loss is nan after epoch 1; start again with a smaller learning rate than 0\.05, or a sma",
    ):
        train(backend=altered(oracle, learner=Spoilt))
    assert checkpoints(out) == []


def test_a_run_into_a_directory_that_is_not_there_says_so(oracle: Any, out: Path) -> None:
    with pytest.raises(VGGError, match=r"run: cannot be written"):
        run(oracle, out, examples(), spec=SPEC.to_dict(), recipe=RECIPE.to_dict(), emit=print, **SETTINGS)
