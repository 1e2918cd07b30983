"""The page: what it shows, what of a hostile directory it escapes, refuses or leaves out, and that it repeats."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import MACHINE, SPEC, column, compared, result, written

import vgg
from vgg.core import layers
from vgg.core.errors import BackendError, VGGError
from vgg.report import html, notebook, rows
from vgg.report.page import (
    architecture,
    confusion,
    curves,
    errors,
    figures,
    intervals,
    palette,
    pictures,
    repeating,
    sources,
    verdicts,
)

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.tags


def test_a_page_has_every_part_and_needs_nothing_else(tmp_path: Path) -> None:
    page = html.page(*compared(tmp_path))
    for heading in ("The network", "The results side by side", "Layer by layer", "Training", "Speed and memory"):
        assert f">{heading}</h2>" in page
    found = tags(page)
    pairs = [pair for _, attributes in found for pair in attributes.items()]
    assert all((value or "").startswith(("data:", "#")) for name, value in pairs if name in ("src", "href"))
    assert not [name for name, _ in pairs if name.startswith("on")]
    assert "@import" not in page
    assert "url(http" not in page


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = compared(tmp_path)
    assert html.page(*contents) == html.page(*contents)


def test_results_and_what_a_file_gives_back_have_the_same_page(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    contents["options"] = {"backends": ["torch", "jax"], "timeout": 900}
    contents["recipe"] |= {"lr_drops": ((3, 0.1),), "plateau": (), "std": 1}
    read = json.loads(json.dumps(contents))
    read["options"]["timeout"] = 900.0
    read["recipe"]["std"] = 1.0
    assert html.page(contents, runs) == html.page(read, runs)


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_page_of_four_backends_is_small(tmp_path: Path, seeds: int) -> None:
    names = ("torch", "tensorflow", "jax", "mxnet")
    assert len(html.page(*compared(tmp_path, names, seeds=seeds, steps=5000)).encode()) < 400_000


def test_ids_are_unique(tmp_path: Path) -> None:
    ids = [attributes["id"] for _, attributes in tags(html.page(*compared(tmp_path))) if "id" in attributes]
    assert len(ids) == len({*ids})


def test_every_reference_within_the_page_has_its_target(tmp_path: Path) -> None:
    page = html.page(*compared(tmp_path))
    ids = {attributes["id"] for _, attributes in tags(page) if "id" in attributes}
    assert {*re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)}
    assert all(one in ids for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page) for one in pair if one)


def test_results_with_several_seeds_show_intervals(tmp_path: Path) -> None:
    page = html.page(*compared(tmp_path, seeds=5))
    assert "mean over 5 seeds" in page
    assert "The lead of torch, as ratio minus 1, is +10.0%, with the 95 % interval +8.0% to +12.0%, from 5 runs" in page
    assert "--seeds 5" in page


def test_one_run_each_claims_no_difference(tmp_path: Path) -> None:
    assert "does not tell whether the difference is more than noise" in html.page(*compared(tmp_path))


@pytest.mark.parametrize(
    ("word", "start"), [("different", "torch trains fastest"), ("not distinguishable", "The fastest two, torch with")]
)
def test_the_word_about_speed_is_that_of_the_pair(word: str, start: str) -> None:
    ratio = {"difference": -0.2, "interval": [-0.5, 0.25]}
    pair = {
        "backends": ["jax", "torch"],
        "quantity": "images_per_second",
        "count": 5,
        "interval": [-9, 9],
        "ratio": ratio,
    }
    columns = {"torch": {"images_per_second": 20.0}, "jax": {"images_per_second": 14.0}}
    text = verdicts.fastest({"seeds": [0, 1, 2, 3, 4], "pairs": [{**pair, "word": word}]}, columns)
    assert text.startswith(start)
    assert "The lead of torch, as ratio minus 1, is +25.0%, with the 95 % interval -20.0% to +100.0%, from 5" in text
    assert ("not distinguishable" in text) == (word != "different")


def test_the_lead_over_a_backend_that_hardly_moves_has_no_end() -> None:
    ratio = {"difference": -0.5, "interval": [-1.0, 0.0]}
    pair = {
        "backends": ["jax", "torch"],
        "quantity": "images_per_second",
        "count": 2,
        "interval": [-1, 0],
        "ratio": ratio,
    }
    columns = {"torch": {"images_per_second": 20.0}, "jax": {"images_per_second": 14.0}}
    two = {"seeds": [0, 1], "pairs": [{**pair, "word": "not distinguishable"}]}
    assert "+0.0% to +inf%" in verdicts.fastest(two, columns)


def test_differences_are_those_of_the_terminal(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path, seeds=2)
    table = html.page(contents, runs).split("Differences between the backends")[1].split("</table>")[0]
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", table)
    columns, pairs = rows.pair_rows(contents)
    assert cells == ["quantity", *columns[1:], *pairs[0]]
    assert cells[-3:] == ["+10.0%", "+8.0% to +12.0%", "different"]


def test_the_verdict_names_what_failed_and_the_worst_error() -> None:
    good, bad = column("torch"), {**column("jax"), "ok": False, "reason": "fc1: too far"}
    good["layer_errors"]["fc1"] = 5e-13
    both = {"backends": {"torch": good, "jax": bad, "mxnet": {"ok": False, "error": "gone"}}}
    said = verdicts.verdict(both, {"torch": good, "jax": bad})
    assert (said.word, said.good) == ("Not one network", False)
    assert "mxnet failed" in said.sentences[0]
    assert "jax: fc1: too far." in said.sentences
    assert said.sentences[-1] == "The worst error is 5.0e-13, 2 times below the limit: torch, fc1."


def test_an_error_over_every_limit_is_drawn_at_the_end_of_its_strip() -> None:
    assert float(errors.place(None)) == errors.WIDTH
    assert float(errors.place(1e99)) == errors.WIDTH
    assert float(errors.place(0.0)) == 0
    assert 0 < float(errors.place(1e-15)) < float(errors.place(1e-14)) < errors.WIDTH


def test_a_wrong_shape_is_marked() -> None:
    table, good = layers.expand(SPEC), column("torch")
    good["shapes"]["fc1"] = [7]
    rows = {row.layer.name: row for row in errors.rows(table, {"torch": good}, palette.marks(["torch"]))}
    assert rows["fc1"].wrong == {"torch"}
    assert not rows["flatten"].wrong


def test_areas_are_true_to_the_numbers_of_values() -> None:
    spec = vgg.arch("vgg11_narrow")
    table = layers.expand(spec)
    sizes = {row.name: np.prod(row.output_shape) for row in table}
    plates = [plate for part in architecture.parts(table, layers.totals(table)) for plate in part.plates]
    ratios = [plate.width * plate.height / sizes[plate.label.split()[0]] for plate in plates]
    assert len(plates) > 10
    assert max(ratios) == pytest.approx(min(ratios))
    assert plates[0].height == pytest.approx(32 * plates[-4].height)


def test_the_parts_of_a_network_share_all_of_it() -> None:
    table = layers.expand(SPEC)
    parts = architecture.parts(table, layers.totals(table))
    assert [part.name for part in parts] == ["block1", "block2", "head"]
    for what in ("activations", "parameters", "MACs"):
        assert sum(part.shares[what] for part in parts) == pytest.approx(1)


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax", "mxnet"])
def test_the_marked_lines_make_the_block_and_the_head(backend: str) -> None:
    lines = sources.models({backend: {}})[backend].lines
    text = {
        part: " ".join(re.sub(r"<[^>]*>", "", str(line)) for line, one in lines if one == part)
        for part in ("block", "head")
    }
    assert "def vgg_block(" in text["block"]
    assert re.search(r"for i, block in enumerate\((self\.)?spec\.blocks", text["block"])
    assert re.search(r"Max|nn\.max_pool", text["block"])
    assert re.search(r"Dense|Linear", text["head"])
    assert "spec.classes" in text["head"]
    assert "def load" not in text["block"] + text["head"]


def test_a_source_without_these_parts_has_no_marked_line() -> None:
    assert sources.made_by("x = 1\n") == {}


def test_a_filter_sheet_is_a_picture_with_gaps() -> None:
    weight = np.linspace(-1, 1, 9 * 9).reshape(9, 1, 3, 3)
    assert pictures.filters(weight, 1.0).startswith("data:image/png;base64,")
    assert pictures.filters(weight, 1.0) != pictures.filters(-weight, 1.0)


def test_filters_before_training_are_those_that_runs_begin_with() -> None:
    recipe = {"seed": 3, "init": "he_uniform", "init_from": ""}
    first = pictures.initial_filters(SPEC, recipe)
    assert first is not None
    np.testing.assert_array_equal(first, vgg.init(SPEC, 3, "he_uniform")["block1.conv1.weight"])
    assert pictures.initial_filters(SPEC, recipe | {"init_from": "other.safetensors"}) is None


def test_the_images_of_mistakes_come_from_the_package(tmp_path: Path) -> None:
    page = html.page(*compared(tmp_path))
    assert page.count('alt="image of ') == 2
    assert "The test images are not on this machine" not in page


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_datasets_without_files_are_on_every_machine(name: str) -> None:
    assert pictures.test_set({"dataset": name}, {}) is not None


def test_images_are_looked_for_where_a_run_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(name: str, folder: Any, say: Any) -> Any:
        asked.append(folder)
        raise VGGError("nothing there")

    monkeypatch.setattr("vgg.training.data.load", load)
    monkeypatch.setenv("VGG_DATA", "/of/variable")
    (tmp_path / "run.json").write_text('{"data": "/of/run"}')
    assert pictures.test_set({"dataset": "fashion-mnist"}, {"torch": tmp_path}) is None
    assert asked[:2] == ["/of/run", "/of/variable"]
    assert None not in asked


def test_mistakes_of_other_images_are_not_shown() -> None:
    tests = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1]), ("a", "b")
    right = {"image": 1, "label": "b", "predicted": "a", "probability": 0.9}
    shown = pictures.mistakes({"mistakes": [right]}, tests)
    assert shown is not None
    assert shown[0][1:] == ("b", "a", 0.9)
    for change in ({"label": "a"}, {"image": 2}, {"image": "1"}, {"probability": 2.0}, {"probability": float("nan")}):
        assert pictures.mistakes({"mistakes": [right | change]}, tests) is None


def test_confusions_are_summed_over_runs_and_coloured_by_their_share() -> None:
    one = {"classes": ["a", "b"], "confusion": [[9, 1], [0, 10]]}
    heat = confusion.heat([one, one])
    assert heat is not None
    assert [count for count, _ in heat.rows[0][1]] == [18, 2]
    assert heat.rows[1][1] == [(0, 0), (20, confusion.STEPS)]
    assert (heat.right, heat.total) == (38, 40)
    assert confusion.heat([one, {"classes": ["a", "b"], "confusion": None}]) is None


def test_the_accuracy_of_each_class_is_shown_or_a_dash(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    for run in runs.values():
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["class_accuracy"][3] = None
        (run / "evaluation.json").write_text(json.dumps(evaluation))
    table = html.page(contents, runs).split("Accuracy by class")[1].split("</table>")[0]
    assert '<th scope="row">3</th><td>\N{EN DASH}</td>' in table
    assert table.count("<td>0.9") == 2 * 9


def test_an_interval_of_means_is_students() -> None:
    point = intervals.mean({"count": 4, "mean": 10.0, "deviation": 2.0})
    assert point is not None
    assert [*point] == pytest.approx([10, 10 - 3.182446, 10 + 3.182446])
    assert intervals.mean({"count": 1, "mean": 10.0, "deviation": None}) is None


def test_losses_that_are_no_numbers_are_left_out() -> None:
    rows = [{"epoch": 0, "step": i, "loss": loss} for i, loss in enumerate([1.0, float("nan"), 2.0, float("inf")])]
    numbers = curves.numbers(rows)[0]
    assert numbers is not None
    assert numbers.tolist() == [[0, 1.0], [2 / 3, 2.0]]
    assert curves.numbers(rows[1:2])[0] is None


def test_labels_of_lines_keep_apart() -> None:
    apart = curves._apart([0.1, 0.11, 0.98, 0.99], 0.1, 1.0)
    assert apart == sorted(apart)
    assert min(np.diff(apart)) == pytest.approx(0.1)
    assert apart[-1] <= 1.0


def ticks(drawing: object) -> list[str]:
    """Return the texts of a figure: those of the ticks of an axis come before its name."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(drawing))


def history(accuracies: list[float]) -> list[dict[str, Any]]:
    steps = [{"epoch": 0, "step": step, "loss": 2 - step / 8} for step in range(8)]
    return [*steps, *({"epoch": epoch, "test_accuracy": one} for epoch, one in enumerate(accuracies))]


@pytest.mark.parametrize(
    ("accuracies", "percents"),
    [
        ([[0.3], [0.3]], ["29%", "30%", "31%"]),
        ([[0.3], [0.2951]], ["29.4%", "29.6%", "29.8%", "30.0%", "30.2%"]),
        ([[0.3], [0.3 + 1e-13]], ["29.6%", "29.8%", "30.0%", "30.2%", "30.4%"]),
        ([[0.1], [0.9]], ["20%", "40%", "60%", "80%"]),
    ],
)
def test_one_epoch_has_one_tick_and_percents_differ(accuracies: list[list[float]], percents: list[str]) -> None:
    histories = {str(i): [history(each)] for i, each in enumerate(accuracies)}
    texts = ticks(curves.accuracy(histories, palette.marks(histories)))
    assert texts[: len(percents) + 2] == ["1", "epochs", *percents]
    assert ticks(curves.loss(histories, palette.marks(histories)))[:3] == ["0", "1", "epochs"]


def test_the_spread_of_one_epoch_is_seen() -> None:
    def drawn(*accuracies: float) -> str:
        histories = {"a": [history([one]) for one in accuracies]}
        return str(curves.accuracy(histories, palette.marks(histories)))

    assert "opacity:0.4" in drawn(0.3, 0.5)
    assert "opacity" not in drawn(0.4)


def test_many_epochs_have_whole_ticks() -> None:
    histories = {"a": [history([0.1 + i / 100 for i in range(30)])]}
    texts = ticks(curves.accuracy(histories, palette.marks(histories)))
    assert all(text.isdecimal() for text in texts[: texts.index("epochs")])


def test_a_result_is_in_the_page_as_a_file() -> None:
    small, large = repeating.download("a.json", {"x": 1}), repeating.download("a.json", {"x": "y" * 99_999})
    assert (small.name, large.name) == ("a.json", "a.json.gz")
    assert len(large.address) < 1000


@pytest.mark.parametrize(("change", "option"), [({"epochs": 9}, "epochs=9"), ({"lr": 0.5}, "lr=0.5")])
def test_the_command_repeats_what_differs_from_the_recipe(change: dict[str, Any], option: str) -> None:
    command = repeating.commands(result(["torch"], recipe=change), vgg.arch("vgg11_narrow"))[0]
    assert command.startswith("vgg compare torch")
    assert f"--set {option}" in command
    assert "--arch vgg11_narrow" in command


def test_the_recipe_says_where_its_size_is_not_used(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    assert contents["recipe"]["size"] == 32
    wanted = "<td>32, not used: the network&#39;s own input is 8\N{MULTIPLICATION SIGN}8</td>"
    assert wanted in html.page(contents, runs)
    contents["recipe"]["size"] = 8
    assert '<th scope="row">size</th><td>8</td>' in html.page(contents, runs)


def test_an_earlier_result_lacks_errors_by_layer_and_says_so(tmp_path: Path) -> None:
    old, runs = compared(tmp_path)
    for one in old["backends"].values():
        for name in ("layer_errors", "layer_limit", "parameter_errors", "parameter_limit", "shapes"):
            del one[name]
    assert "errors of single layers are not in this result" in html.page(old, runs)


def damaged(name: str, text: str | bytes) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


STEP = '{"epoch": 0, "step": 0, "loss": NaN, "lr": 1, "seconds": 1}\n'
NO_LIST = '{"classes": ["a"], "class_accuracy": [1], "mistakes": 5}'
REFUSED = {
    "a torn line": (damaged("metrics.jsonl", '{"epoch": 0, "st'), r"metrics\.jsonl, line 1"),
    "no epoch": (damaged("metrics.jsonl", STEP.replace('"epoch": 0, ', "")), "epoch: got nothing"),
    "NaN": (damaged("metrics.jsonl", STEP), "loss: got nan"),
    "a list for an evaluation": (damaged("evaluation.json", "[]"), "wanted a JSON object"),
    "a number for mistakes": (damaged("evaluation.json", NO_LIST), "mistakes: got 5"),
}


@pytest.mark.parametrize("harm", REFUSED)
def test_files_that_cannot_be_shown_are_refused_by_name(tmp_path: Path, harm: str) -> None:
    contents, runs = compared(tmp_path)
    REFUSED[harm][0](runs["jax"])
    for refuse in (html.check, html.checked_page):
        with pytest.raises(BackendError, match=REFUSED[harm][1]):
            refuse(contents, {"jax": runs["jax"]})


def test_a_check_of_files_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "document", lambda _: pytest.fail("a page was made"))
    html.check(*compared(tmp_path))


def test_huge_metrics_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents, runs = compared(tmp_path)
    monkeypatch.setattr("vgg.core.limits.RESULT", 100)
    with pytest.raises(BackendError, match="it has more than 100 bytes"):
        html.check(contents, runs)


def nothing(_: Path) -> None:
    pass


MISSING = {
    "no weights": (nothing, "filters are missing"),
    "junk for weights": (damaged("weights.safetensors", b"\xff" * 64), "filters are missing"),
    "no steps": (damaged("metrics.jsonl", ""), "Training"),
}


@pytest.mark.parametrize("harm", MISSING)
def test_what_is_missing_is_said(tmp_path: Path, harm: str) -> None:
    contents, runs = compared(tmp_path)
    for run in runs.values():
        MISSING[harm][0](run)
    assert MISSING[harm][1] in html.page(contents, runs)


def test_markup_in_files_is_text(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    for run in runs.values():
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["classes"][0] = EVIL
        (run / "evaluation.json").write_text(json.dumps(evaluation))
    contents["backends"]["jax"]["facts"]["flags"] = {EVIL: EVIL}
    contents["backends"]["gone"] = {"ok": False, "error": EVIL}
    page = html.page(contents, runs)
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 1
    assert f"<script>{(html.FOLDER / 'sort.js').read_text()}</script>" in page


RAW = [
    chr(c) for c in (0, 7, 9, 13, 27, 127, 0x85, 0x9B, 0x200B, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xD800)
]
"""Characters that end a line, turn the direction of texts, or are obeyed by what shows them."""


def test_no_character_of_a_page_is_obeyed(tmp_path: Path) -> None:
    evil = "".join(RAW)
    contents, runs = compared(tmp_path, seeds=2)
    contents["spec"]["name"] = f"a{evil[:-1]}"
    contents["machine"] = {**MACHINE, "cpu": evil, "system": evil, "gpus": [evil]}
    contents["recipe"]["init_from"] = contents["vgg"] = contents["backends"]["jax"]["reason"] = evil
    contents["backends"]["jax"]["facts"] |= {"framework": evil, "flags": {evil: evil}, "versions": {evil: evil}}
    contents["backends"]["gone"] = {"ok": False, "error": evil}
    page = html.page(contents, runs)
    assert not [character for character in RAW if character in page]
    assert r"a\x00\x07" in page
    assert r"\u202e" in page


def test_no_character_of_a_table_in_a_notebook_is_obeyed() -> None:
    text = notebook.table(["a\x1b"], [["b\u202e\nc"]], "d\x00") + notebook.paragraphs(["\u2066"])
    assert text.replace("<br>", "").isprintable()
    assert "b\\u202e<br>c" in text


def test_a_notebook_gets_the_curves_without_a_style_sheet(tmp_path: Path) -> None:
    text = notebook.comparison(*compared(tmp_path))
    assert text.count("<svg") == 2
    assert "var(" not in text
    assert text.startswith("<table>")


def test_a_notebook_gets_a_table_where_files_are_damaged(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    damaged("metrics.jsonl", "x")(runs["jax"])
    assert "<svg" not in notebook.comparison(contents, runs)


def test_a_notebook_draws_a_network() -> None:
    drawing = notebook.network(SPEC)
    assert drawing.count("<svg") == 3
    assert "&#34;" not in drawing


def test_origin_says_what_a_graphics_machine_is(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path)
    contents["machine"] = {**MACHINE, "gpus": ["NVIDIA H100"]}
    assert "NVIDIA H100" in html.page(contents, runs)


def test_runs_of_seeds_are_read_from_their_directories(tmp_path: Path) -> None:
    contents, runs = compared(tmp_path, seeds=2)
    damaged("evaluation.json", "[]")(runs["jax"] / "seed-1")
    with pytest.raises(VGGError, match="seed-1"):
        html.page(contents, runs)


def test_written_runs_are_runs(tmp_path: Path) -> None:
    assert {path.name for path in written(tmp_path / "x", steps=4).iterdir()} == {"metrics.jsonl", "evaluation.json"}


def test_without_matplotlib_a_page_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(VGGError, match=r"page: got no matplotlib, wanted it installed; pip install matplotlib"):
        figures.figure(lambda axes: None, "title", "about")
