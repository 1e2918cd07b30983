"""The page of exercises: its tables follow from specs and from the committed runs, and its words from the tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean, median, stdev
from types import SimpleNamespace
from typing import Any

import exercise_counts
import exercise_results
import exercise_runs
import numpy as np
import pytest
from tabs import FRAMEWORKS

from vgg import Spec, arch, expand, totals
from vgg.core.recipe import Recipe
from vgg.training.data import Dataset

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "lesson" / "exercises.md").read_text(encoding="utf-8")
RUNS: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "exercises.json").read_text(encoding="utf-8"))
STEPS: dict[str, Any] = RUNS["steps"]
PARTS = [*STEPS.values(), RUNS["small"], RUNS["accuracies"]]


def times(part: dict[str, Any], net: str) -> float:
    """The median seconds of a step."""
    return float(median(part["nets"][net]["train"]))


def accuracies(net: str) -> list[float]:
    """The test accuracies of a small net."""
    return [run["test_accuracy"] for run in RUNS["accuracies"]["runs"][net].values()]


@pytest.mark.parametrize("name", exercise_counts.PAPER)
def test_counts_are_those_of_the_papers_second_table(name: str) -> None:
    assert round(totals(expand(arch(name))).params / 1e6) == exercise_counts.PAPER[name]
    assert [*exercise_counts.PAPER.values()] == [133, 133, 133, 134, 138, 144]


def test_layers_nearly_double_where_parameters_hardly_grow() -> None:
    rows = {row[0]: (int(row[3]), int(row[4].replace(",", ""))) for row in exercise_counts.paper()[1]}
    (layers, params), (more, larger) = rows["A"], rows["E"]
    assert 1.6 < more / layers < 2
    assert 1 < larger / params < 1.1


def test_the_program_of_table_one_counts_what_vgg_counts() -> None:
    printed = json.loads((ROOT / "docs" / "snippets" / "outputs.json").read_text())["table_one/oracle"]["output"]
    counts = {line.split()[0]: (int(line.split()[1]), float(line.split()[3])) for line in printed.splitlines()}
    columns, rows = exercise_counts.paper()
    assert columns[0] == "column"
    assert counts == {row[0]: (int(row[3]), round(int(row[4].replace(",", "")) / 1e6, 1)) for row in rows}


def test_alexnet_and_vgg_have_the_counts_of_the_design() -> None:
    columns = {row[0]: row[1:] for row in exercise_counts.alexnet_counts()[1]}
    assert columns["parameters"][:2] == ["46,764,746", "128,806,154"]
    assert columns["FLOPs"][:2] == [f"{2 * 938_146_176:,}", f"{2 * 7_547_232_256:,}"]


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_most_parameters_are_dense_and_most_flops_are_convolutions(name: str) -> None:
    total = totals(expand(exercise_counts.grey(name)))
    assert total.conv_params < 0.1 * total.params
    assert total.conv_macs > 0.9 * total.macs


def test_the_runs_are_of_the_nets_of_the_page() -> None:
    large, small = (exercise_runs.described(nets) for nets in (exercise_runs.large_nets(), exercise_runs.small_nets()))
    assert [column["specs"] for column in STEPS.values()] == [large] * len(FRAMEWORKS)
    assert RUNS["small"]["specs"] == RUNS["accuracies"]["specs"] == small
    assert {*STEPS} == {*FRAMEWORKS}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: str(part["framework"]))
def test_runs_say_where_they_come_from(part: dict[str, Any]) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", part["commit"])
    assert {"vgg", "date", "machine", "framework"} <= {*part}


@pytest.mark.parametrize("part", [*STEPS.values(), RUNS["small"]], ids=lambda part: str(part["framework"]))
def test_what_was_timed_computes_what_it_should(part: dict[str, Any]) -> None:
    assert all(net["parity"]["ok"] and len(net["train"]) == part["rounds"] for net in part["nets"].values())


def test_times_are_medians_of_rounds_in_turn() -> None:
    for row, (name, label) in zip(exercise_results.alexnet_steps()[1], FRAMEWORKS.items(), strict=True):
        one, other = (times(STEPS[name], net) for net in ("alexnet", "vgg11"))
        shown = [float(cell.split()[0]) for cell in row[1:4]]
        assert row[0] == label
        assert shown == [round(one, 2), round(other, 2), round(other / one, 2)]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_times_are_as_the_answer_says(name: str) -> None:
    column = STEPS[name]
    ratio, without = (times(column, f"vgg11{end}") / times(column, f"alexnet{end}") for end in ("", "_pooled"))
    shares = {net: 1 - times(column, f"{net}_pooled") / times(column, net) for net in ("alexnet", "vgg11")}
    numbers = exercise_counts.numbers()
    assert ratio < numbers["times"].FLOPs < 1.1 * without
    assert without < 1.1 * numbers["times"].FLOPs_of_convolutions
    assert shares["alexnet"] > 3 * numbers["dense_flops"].alexnet
    assert 0 < shares["vgg11"] < shares["alexnet"] / 2
    convolutions, dense = exercise_results.rates(column, "alexnet")
    assert dense < convolutions / 2


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_memory_is_as_the_answers_say(name: str) -> None:
    nets, batch = STEPS[name]["nets"], STEPS[name]["batch"]
    for net in ("alexnet", "vgg11"):
        total = exercise_counts.summed(exercise_counts.grey(net))
        stored, outputs = 12 * total.params, 4 * batch * total.activations
        assert 2 * outputs < stored
        assert stored + outputs < nets[net]["peak_bytes"]
        crossing = getattr(exercise_counts.numbers()["crossing"], net)
        assert 4 * (crossing - 1) * total.activations <= stored < 4 * crossing * total.activations
    assert nets["vgg11_pooled"]["peak_bytes"] < nets["vgg11"]["peak_bytes"] / 2
    assert 0.85 < times(STEPS[name], "vgg11_pooled") / times(STEPS[name], "vgg11") < 1


def test_accuracies_are_means_over_seeds() -> None:
    tables = [(exercise_results.heads_small, exercise_results.SMALL_HEADS)]
    tables += [(exercise_results.sizes_small, exercise_results.SIZES)]
    for table, nets in tables:
        for row, net in zip(table()[1], nets, strict=True):
            values = accuracies(net)
            assert row[3].split() == [f"{fmean(values):.4f}", "±", f"{stdev(values):.4f}"]


def test_the_verdicts_are_as_the_answers_say() -> None:
    narrow, pooled = (exercise_results.verdict(net, "side96", 2) for net in ("narrow_head", "pooled"))
    assert (narrow["word"], pooled["word"]) == ("different", "not distinguishable")
    assert narrow["difference"] < 0
    others = [net for net in exercise_results.SIZES if net != "side96"]
    sizes = {net: exercise_results.verdict(net, "side96", len(others)) for net in others}
    assert {result["word"] for result in sizes.values()} == {"not distinguishable"}
    assert {net for net, result in sizes.items() if result["difference"] < 0} == {"side84", "side56", "small_input"}
    assert sizes["side84"]["count"] == sizes["side56"]["count"] == 5
    assert abs(fmean(accuracies("late_pools")) - fmean(accuracies("side224"))) < 0.02


def test_a_step_costs_about_as_much_as_the_image_has_pixels() -> None:
    numbers = exercise_results.numbers()
    for net in ("side96", "side84", "side56"):
        pixels, step = (getattr(numbers[what], net) for what in ("pixel_share", "step_share"))
        assert pixels < step < 1.6 * pixels


def test_small_images_lose_nothing_in_ten_epochs() -> None:
    run = json.loads((ROOT / "benchmarks" / "results" / "small-input.json").read_text())
    training = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    low, high = map(float, re.findall(r"at 224 px end between ([\d.]+) and ([\d.]+)", training)[0])
    assert low < run["summary"]["test_accuracy"] < high
    assert exercise_results.small("small_input").feature_shape[1:] == (3, 3)


def test_the_seeds_are_those_of_the_commands() -> None:
    commands = re.findall(r"exercise_runs.py accuracies \S+ (\d) ?(.*)$", PAGE, re.MULTILINE)
    wanted = {
        name: {*range(int(count))} for count, names in commands for name in names.split() or [*RUNS["small"]["nets"]]
    }
    assert {name: {*map(int, seeds)} for name, seeds in RUNS["accuracies"]["runs"].items()} == wanted


def test_pools_halve_odd_sides_where_the_table_shows_it() -> None:
    odd = {net: exercise_counts.odd(exercise_results.small(net)) for net in exercise_results.SIZES}
    assert odd == {
        "side224": [],
        "side96": [],
        "side84": [21, 5],
        "side56": [7, 3],
        "small_input": [7],
        "late_pools": [],
    }


def test_eight_rows_hold_eleven_layers() -> None:
    blocks, head = arch("vgg11_narrow").blocks, arch("vgg11_narrow").head
    dense = len(head.hidden) + 1
    assert len(blocks) + dense == 8
    assert sum(len(block.convs) for block in blocks) + dense == 11
    assert [len(block.convs) for block in blocks] == [1, 1, 2, 2, 2]


def test_the_files_for_students_are_nets_of_the_page() -> None:
    files = {name: Spec.load(ROOT / "docs" / f"{name}.toml") for name in ("small-head", "late-pools")}
    narrow = arch("vgg11_narrow")
    assert files["small-head"].blocks == narrow.blocks
    assert files["small-head"].head.global_pool
    assert [block.convs for block in files["late-pools"].blocks] == [block.convs for block in narrow.blocks]
    assert files["late-pools"].feature_shape == narrow.feature_shape


def test_every_answer_is_behind_a_fold() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    sections = [section for section in PAGE.split("\n## ")[1:] if not section.startswith(titles[-1])]
    assert len(sections) == 5
    for section in sections:
        question, fold, answer = section.partition(":::::{dropdown} Answer\n")
        assert fold
        assert answer.rstrip().endswith(":::::")
        assert "{lesson-table}" not in question
        assert ":open:" not in section


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The networks and seeds that were trained, none of which really is."""
    images, labels = np.zeros((20_000, 1, 2, 2), np.uint8), np.zeros(20_000, np.int64)
    whole, seen = Dataset("fashion-mnist", images, labels, images, labels, ("a",)), list[tuple[str, int]]()

    def record(spec: Spec, seed: int, dataset: Dataset) -> tuple[str, dict[str, float]]:
        assert len(dataset.train_labels) == exercise_runs.EXAMPLES
        seen.append((spec.name, seed))
        return "framework 1.0", {"test_accuracy": 0.5}

    monkeypatch.setattr(exercise_runs, "trained", record)
    monkeypatch.setattr(exercise_runs, "data", SimpleNamespace(load=lambda name: whole))
    return seen


def test_a_run_is_made_once_per_commit(
    trained: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "exercises.json"
    monkeypatch.setattr(exercise_runs, "provenance", lambda: {"commit": "one"})
    exercise_runs.main("accuracies", str(out), "1", "pooled")
    exercise_runs.main("accuracies", str(out), "2", "pooled", "side56")
    assert [seed for _, seed in trained] == [0, 0, 1, 1]
    runs = json.loads(out.read_text())["accuracies"]["runs"]
    assert {name: [*seeds] for name, seeds in runs.items()} == {"pooled": ["0", "1"], "side56": ["0", "1"]}
    monkeypatch.setattr(exercise_runs, "provenance", lambda: {"commit": "two"})
    exercise_runs.main("accuracies", str(out), "1", "side56")
    assert [*json.loads(out.read_text())["accuracies"]["runs"]] == ["side56"]


def test_the_small_nets_have_one_recipe() -> None:
    assert Recipe.from_dict(RUNS["accuracies"]["recipe"]) == exercise_runs.plan()
