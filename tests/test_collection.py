"""``vgg report``: runs and results from several places in one page, and the pages of ``check`` and ``bench``."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pages import BENCH, FACTS, SUMMARY, board, compared, result, written

from vgg import api
from vgg.cli import main
from vgg.core.errors import VGGError
from vgg.report import html
from vgg.report.page import conformance, kills
from vgg.runs.collection import collect

RESULTS = BENCH.parent


def comparison(folder: Path, **changes: Any) -> Path:
    contents, _ = compared(folder)
    (folder / "compare.json").write_text(json.dumps({**contents, **changes}))
    return folder


def run(folder: Path, **changes: Any) -> Path:
    written(folder, steps=8)
    head = {name: value for name, value in result([]).items() if name not in ("backends", "ok")}
    (folder / "run.json").write_text(
        json.dumps({**head, "backend": "jax", "facts": FACTS, "summary": SUMMARY, **changes})
    )
    return folder


def test_a_comparison_and_a_run_share_a_page(tmp_path: Path) -> None:
    contents = collect([comparison(tmp_path / "both"), run(tmp_path / "there")])
    assert contents.comparison is not None
    assert list(contents.comparison["backends"]) == ["torch", "jax", "jax (there)"]
    page = html.document(contents)
    assert "tiny in 3 runs" in page
    assert "not judged" in page
    assert "jax (there) was trained by vgg train, which proves nothing." in page
    assert "One network" in page


def test_a_page_of_every_kind_of_result_is_small(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_bytes((RESULTS / "compare-digits.json").read_bytes())
    page = html.document(collect([RESULTS / "check.json", tmp_path, RESULTS / "bench-cpu.json"]))
    assert len(page.encode()) < 400_000


def test_a_comparison_alone_is_its_own_page(tmp_path: Path) -> None:
    place = comparison(tmp_path / "both")
    contents, runs = json.loads((place / "compare.json").read_text()), {n: place / n for n in ("torch", "jax")}
    contents["backends"]["gone"] = {"ok": False, "error": "why", "failures": {"0": "why"}}
    (place / "compare.json").write_text(json.dumps(contents))
    assert html.document(collect([place])) == html.page(contents, runs)


def saved(page: str, name: str) -> dict[str, Any]:
    """Return what the page holds as a file of that name."""
    data = page.split(f'download="{name}" href="data:application/json;base64,')[1].split('"', maxsplit=1)[0]
    contents: dict[str, Any] = json.loads(base64.b64decode(data))
    return contents


def test_a_page_holds_the_files_that_it_is_made_from(tmp_path: Path) -> None:
    both, one, other = comparison(tmp_path / "both"), run(tmp_path / "one"), run(tmp_path / "other", date="2026")
    compared_page = html.document(collect([both]))
    assert saved(compared_page, "compare.json") == json.loads((both / "compare.json").read_text())
    page = html.document(collect([one]))
    assert saved(page, "run.json") == json.loads((one / "run.json").read_text())
    assert "compare.json" not in page
    assert saved(html.document(collect([one, other])), "runs.json")["backends"].keys() == {"jax", "jax (other)"}


def test_runs_alone_have_no_verdict(tmp_path: Path) -> None:
    page = html.document(
        collect([run(tmp_path / name, date=f"2026-01-0{day}") for day, name in enumerate(("a", "b", "c/b"), 1)])
    )
    assert "jax (b)" in page
    assert "jax (b, 2)" in page
    assert "One network" not in page


def test_timings_and_conformance_join_the_page(tmp_path: Path) -> None:
    (tmp_path / "check.json").write_text(json.dumps({"ok": True, **board(forward={})}))
    page = html.document(collect([comparison(tmp_path / "both"), BENCH, tmp_path / "check.json"]))
    for title in ("The network", "Against the machine and the baselines", "A square per cell"):
        assert title in page
    assert "share of product rate" in page


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another network": ({"spec": {**result([])["spec"], "classes": 11}}, "another network"),
    "no end": ({"summary": None}, "has not finished"),
    "no facts": ({"facts": {"framework": ""}}, "jax: "),
    "NaN": ({"summary": {**SUMMARY, "test_accuracy": float("nan")}}, "wanted finite numbers"),
    "no machine": ({"machine": {}}, "machine"),
    "no spec": ({"spec": {}}, "spec"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_run_is_refused_by_name(tmp_path: Path, name: str) -> None:
    changes, message = WRONG[name]
    places = [comparison(tmp_path / "both"), run(tmp_path / "one", **changes)]
    with pytest.raises(VGGError, match=message):
        html.document(collect(places))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "wanted a JSON object"),
        ("{}", "other JSON"),
        ('{"workloads": {"x": 1}}', "x.json: date: got nothing"),
        ('{"judged": {}, "checks": {"a": 1}}', "judged: got {}, wanted the counts"),
        (
            '{"judged": {"t": [1, 1]}, "checks": {"a": {"t": {}}}, "machine": {}, "frameworks": {}}',
            "machine.system: got nothing",
        ),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(VGGError, match=message):
        collect([tmp_path / "x.json"])


@pytest.mark.parametrize("place", ["missing", "é" * 5000, "empty"])
def test_what_is_not_there_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VGGError, match=r"nothing there|not a run directory|wanted a path"):
        api.report([tmp_path / place], out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_the_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(comparison(tmp_path / "both")), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out)}
    assert out.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_refused_before_the_runs_are_read(tmp_path: Path) -> None:
    with pytest.raises(VGGError, match="--out"):
        api.report([tmp_path / "missing"], out=tmp_path / "none" / "page.html")


def test_no_run_is_refused() -> None:
    with pytest.raises(VGGError, match="no RUN"):
        api.report([])


@pytest.mark.parametrize(
    ("cells", "word", "good"),
    [
        ({"forward": {}}, "Conformant", True),
        ({"forward": {"outcome": "failed", "reason": "x"}}, "Not conformant", False),
        ({"forward": {"outcome": "unexpected pass"}}, "Not conformant", False),
    ],
)
def test_the_verdict_on_a_suite_is_that_of_its_cells(cells: dict[str, Any], word: str, good: bool) -> None:
    assert conformance.verdict(board(**cells))[:2] == (word, good)


@pytest.mark.parametrize("ok", [None, 1, "yes", [], {}])
def test_a_verdict_is_true_or_false(ok: Any, tmp_path: Path) -> None:
    place = comparison(tmp_path / "both")
    contents = json.loads((place / "compare.json").read_text())
    contents["backends"]["jax"]["ok"] = ok
    (place / "compare.json").write_text(json.dumps(contents))
    with pytest.raises(VGGError, match=r"backends\.jax: ok: got .*, wanted true or false"):
        collect([place])


def test_a_finder_counts_its_faults_and_those_that_no_other_check_finds() -> None:
    checks = list(dict.fromkeys(found[0] for found in kills.kills().values()))
    for one in kills.finders(checks):
        faults = [found for found in kills.kills().values() if one.check in found]
        assert (one.found, one.alone) == (len(faults), faults.count([one.check])), one.check
    assert {one.check for one in kills.finders(checks)} == set(checks)
    assert kills.finders(["no such check"]) == []


def test_a_suite_that_was_judged_in_part_is_neither_good_nor_bad() -> None:
    part = {**board(forward={}), "judged": {"torch": [1, 2]}}
    assert conformance.verdict(part)[:2] == ("Judged in part", None)


def test_a_wrong_declaration_is_not_conformant() -> None:
    wrong = {**board(forward={}), "declared": {"momentum": {"torch": {"text": "float32", "wrong": "float64"}}}}
    assert conformance.verdict(wrong)[1] is False


def test_outcomes_look_unlike_each_other() -> None:
    squares = {conformance._shapes([outcome]) for outcome, _ in conformance.LEGEND}
    assert len(squares) == len(conformance.LEGEND)
    assert {*conformance.KINDS.values()} == {"passed", "failed", "known", "unjudged", "unclaimed"}


def test_cells_are_in_the_family_of_their_first_word() -> None:
    families = conformance.families(board(forward_a={}, forward_b={"outcome": "not judged", "reason": "no"}, modes={}))
    assert [family.name for family in families] == ["forward", "modes"]
    assert "1 passed, 1 not judged" in families[0].squares["torch"]


def test_a_reason_is_text(tmp_path: Path) -> None:
    evil = board(forward={"outcome": "failed", "reason": "<script>alert(1)</script>"})
    page = html.document(html.Contents(conformance=[evil]))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_html_is_written_where_it_cannot_be(tmp_path: Path) -> None:
    for command in (api.check, api.bench):
        with pytest.raises(VGGError, match="--html"):
            command(["torch"], html=tmp_path / "missing" / "page.html")
