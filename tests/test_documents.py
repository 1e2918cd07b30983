"""Results in files that somebody edited: what denies itself, or is of another type, is refused with its field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import BENCH as BENCH_FILE
from pages import FACTS, SUMMARY, compared, result, written

from vgg import api
from vgg.core.errors import VGGError
from vgg.report import html
from vgg.report.page import conformance
from vgg.runs.collection import collect

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
Edit = Callable[[dict[str, Any]], object]


def put(*path: Any, value: Any) -> Edit:
    """Put ``value`` in the place of what is at ``path``."""

    def edit(contents: Any) -> None:
        for part in path[:-1]:
            contents = contents[part]
        contents[path[-1]] = value

    return edit


def drop(*path: Any) -> Edit:
    """Remove what is at ``path``."""

    def edit(contents: Any) -> None:
        for part in path[:-1]:
            contents = contents[part]
        del contents[path[-1]]

    return edit


def loaded(name: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return contents


def refusal(folder: Path, name: str, edit: Edit) -> str:
    """Return the message about the file ``name`` after an edit, or an empty text if it can be shown."""
    contents = copy.deepcopy(loaded(name))
    edit(contents)
    (folder / name).write_text(json.dumps(contents))
    try:
        collect([folder / name])
    except VGGError as error:
        return str(error)
    return ""


def is_whole(message: str, file: Path) -> bool:
    """Return whether a message is one line that names the file, what it got, what it wanted, and what to do."""
    parts = [f"{file}: ", "got ", ", wanted ", "; "]
    return len(message.splitlines()) == 1 and all(part in message for part in parts)


CELL = ("checks", "forward plain float64 eval", "torch")
FACT = ("declared", "ties", "jax")
CHECKS: dict[str, tuple[Edit, str]] = {
    "not ok": (put("ok", value=False), "ok: got false"),
    "ok of another type": (put("ok", value="yes"), "ok: got 'yes'"),
    "no ok": (drop("ok"), "ok: got nothing"),
    "no checks": (put("checks", value={}), "judged.torch: got 377 judged"),
    "one check": (lambda c: c.update(checks=dict([next(iter(c["checks"].items()))])), "judged.torch: got 377 judged"),
    "checks of another type": (put("checks", value=[]), "checks: got []"),
    "a row of another type": (put(*CELL[:2], value=5), "checks: got "),
    "a cell less": (drop(*CELL), "judged.torch: got 377 judged, wanted 376"),
    "a cell of another type": (put(*CELL, value=5), f"{'.'.join(CELL)}: got 5"),
    "a cell of nobody": (put(*CELL[:2], "numpy", value=loaded("check.json")[CELL[0]][CELL[1]]["jax"]), "numpy"),
    "nobody judged": (put("judged", value={}), "judged: got {}"),
    "nothing judged": (put("judged", "torch", value=[0, 0]), "judged.torch: got 0 judged"),
    "more judged": (put("judged", "torch", value=[400, 377]), "judged.torch: got 400 judged"),
    "fewer judged": (put("judged", "torch", value=[1, 1]), "judged.torch: got 1 judged"),
    "fewer in all": (put("judged", "torch", value=[377, 1]), "judged.torch: got 1 in all"),
    "a negative count": (put("judged", "torch", value=[-1, -1]), "judged"),
    "a lone count": (put("judged", "torch", value=[377]), "judged"),
    "a count of another type": (put("judged", "torch", value=["a", "b"]), "judged"),
    "an unknown outcome": (put(*CELL, "outcome", value="splendid"), "outcome: got splendid"),
    "no outcome": (drop(*CELL, "outcome"), "outcome: got nothing"),
    "a cell that is not claimed": (put(*CELL, "outcome", value="not claimed"), "judged.torch"),
    "a cell that is not judged": (put(*CELL, "outcome", value="not judged"), "judged.torch"),
    "a failure": (put(*CELL, "outcome", value="failed"), "ok: got true"),
    "an unexpected pass": (put(*CELL, "outcome", value="unexpected pass"), "ok: got true"),
    "an error over its limit": (put(*CELL, "error", value=5.0), "error: got 5.0"),
    "no error": (put(*CELL, "error", value=None), "error: got None"),
    "no limit": (put(*CELL, "limit", value=None), "limit: got nothing"),
    "a limit of zero": (put(*CELL, "limit", value=0.0), "error: got "),
    "a negative error": (put(*CELL, "error", value=-1.0), "error: got -1.0"),
    "NaN as error": (put(*CELL, "error", value=float("nan")), "error: got nan"),
    "infinity as limit": (put(*CELL, "limit", value=float("inf")), "limit: got inf"),
    "a reason": (put(*CELL, "reason", value="wrong"), "reason: got wrong"),
    "a huge number": (put(*CELL, "limit", value=10**400), "limit: got an integer of"),
    "a wrong fact": (put(*FACT, "wrong", value="shared"), "ok: got true"),
    "an unexpected fact": (put(*FACT, "known", value=True), "ok: got true"),
    "a fact that is not claimed": (put(*FACT, "text", value="not claimed"), "judged.jax"),
    "a fact of another type": (put(*FACT, value=[]), "declared.ties.jax: got []"),
    "no facts": (put("declared", value={}), "judged.torch: got 377 judged, wanted 369"),
    "a machine of another type": (put("machine", value="big"), "machine: got 'big'"),
    "no machine": (drop("machine"), "machine: got nothing"),
    "cores of another type": (put("machine", "cores", value="two"), "machine.cores: got 'two'"),
    "a date of another type": (put("date", value=5), "date: got 5"),
    "no version": (drop("vgg"), "vgg: got nothing"),
    "a commit of another type": (put("commit", value=[1]), "commit: got [1]"),
    "frameworks of another type": (put("frameworks", value=[]), "frameworks: got []"),
    "seconds that are NaN": (put("seconds", "torch", value=float("nan")), "seconds.torch: got nan"),
    "an earlier version": (drop("judged"), "judged: got nothing"),
}


@pytest.mark.parametrize("name", ["check.json", "check-flax_nnx.json"])
def test_a_committed_result_of_the_suite_is_conformant(name: str) -> None:
    (result,) = collect([RESULTS / name]).conformance
    assert conformance.verdict(result)[0] == "Conformant"


@pytest.mark.parametrize("edit", CHECKS)
def test_a_result_of_the_suite_that_denies_itself_is_refused(edit: str, tmp_path: Path) -> None:
    change, wanted = CHECKS[edit]
    message = refusal(tmp_path, "check.json", change)
    assert is_whole(message, tmp_path / "check.json")
    assert wanted in message


def test_what_was_left_out_or_failed_is_shown_and_is_not_conformant(tmp_path: Path) -> None:
    for edits in (
        [put("judged", "torch", value=[377, 380])],
        [put("ok", value=False), put(*CELL, "outcome", value="failed")],
    ):
        contents = loaded("check.json")
        for edit in edits:
            edit(contents)
        (tmp_path / "check.json").write_text(json.dumps(contents))
        (result,) = collect([tmp_path / "check.json"]).conformance
        assert conformance.verdict(result)[1] is not True


COLUMN = ("workloads", "vgg16", "backends", "torch")
OURS = (*COLUMN, "contenders", "vgg")
PARITY = (*OURS, "parity")
BENCH: dict[str, tuple[Edit, str]] = {
    "a negative time": (put(*OURS, "train", 0, value=-1.0), "vgg.train.0: got -1.0, wanted a number >= "),
    "a time of zero": (put(*OURS, "infer", 2, value=0), "vgg.infer.2: got 0"),
    "a NaN": (put(*OURS, "train", 0, value=float("nan")), "vgg.train.0: got nan"),
    "an infinity": (put(*COLUMN, "ceiling", 1, "flops", value=float("inf")), "torch.ceiling.1.flops: got inf"),
    "a rate of zero": (put(*COLUMN, "ceiling", 1, "bytes", value=0), "torch.ceiling.1.bytes: got 0"),
    "a tiny time": (put(*OURS, "train", 0, value=1e-300), "vgg.train.0: got 1e-300"),
    "a huge integer": (put(*OURS, "train", 0, value=10**400), "vgg.train.0: got an integer of"),
    "a text as time": (put(*OURS, "train", 0, value="fast"), "vgg.train.0: got 'fast'"),
    "a round less": (put(*OURS, "train", value=[1.0, 1.0]), "vgg.train: got 2 numbers, wanted 3"),
    "no times": (put(*OURS, "train", value=[]), "vgg.train: got 0 numbers"),
    "times of another type": (put(*OURS, "train", value=5), "vgg.train: got 5, wanted a list"),
    "fewer phases": (drop(*OURS, "infer"), "contenders.zoo: got infer, train, wanted train"),
    "no training": (drop(*OURS, "train"), "vgg.train: got nothing"),
    "no parity": (drop(*OURS, "parity"), "vgg.parity: got nothing"),
    "no parity's ok": (drop(*PARITY, "ok"), "vgg.parity.ok: got nothing"),
    "an error over its limit": (put(*PARITY, "logits", "error", value=5.0), "vgg.parity.ok: got true"),
    "no error": (put(*PARITY, "logits", "error", value=None), "vgg.parity.ok: got true"),
    "a reason": (put(*PARITY, "logits", "reason", value="wrong"), "vgg.parity.ok: got true"),
    "no logits": (put(*PARITY, value={"ok": True}), "vgg.parity.ok: got true"),
    "wrong without a reason": (put(*PARITY, "ok", value=False), "vgg.parity.ok: got false"),
    "a contender of another type": (put(*OURS, value=[]), "contenders.vgg: got []"),
    "a failure of another type": (put(*OURS, value={"error": 5}), "contenders.vgg.error: got 5"),
    "an empty failure": (put(*OURS, value={"error": ""}), "contenders.vgg.error: got "),
    "a failure": (put(*OURS, value={"error": "broke"}), "ok: got true, wanted false, since vgg16 torch vgg failed"),
    "no vgg": (drop(*OURS), "torch.contenders: got no vgg"),
    "a column of another type": (put(*COLUMN, value="x"), "backends.torch: got 'x'"),
    "no ceiling": (put(*COLUMN, "ceiling", value=[]), "torch.ceiling: got 0 numbers, wanted 3"),
    "no backends": (put(*COLUMN[:3], value={}), "workloads.vgg16.backends: got {}"),
    "a batch of zero": (put(*COLUMN[:2], "batch", value=0), "workloads.vgg16.batch: got 0"),
    "a negative batch": (put(*COLUMN[:2], "batch", value=-4), "workloads.vgg16.batch: got -4"),
    "MACs as a list": (put(*COLUMN[:2], "macs", value=[1]), "workloads.vgg16.macs: got [1]"),
    "no network": (put(*COLUMN[:2], "spec", value={}), "workloads.vgg16.spec.input_shape: got nothing"),
    "no input": (drop(*COLUMN[:2], "spec", "input_shape"), "workloads.vgg16.spec.input_shape: got nothing"),
    "another network": (put(*COLUMN[:2], "spec", "blocks", value=5), "workloads.vgg16.spec: blocks: got 5"),
    "a network of another type": (put(*COLUMN[:2], "spec", value="vgg16"), "workloads.vgg16.spec: got 'vgg16'"),
    "a workload of another type": (put(*COLUMN[:2], value=1), "workloads.vgg16: got 1"),
    "no workloads": (put("workloads", value={}), "workloads: got {}"),
    "other rounds": (put("rounds", value=5), "train: got 3 numbers, wanted 5"),
    "rounds of another type": (put("rounds", value="3"), "rounds: got '3'"),
    "another device": (put("device", value="tpu"), "device: got 'tpu'"),
    "a machine of another type": (put("machine", value=5), "machine: got 5"),
    "GPUs of another type": (put("machine", "gpus", value=5), "machine.gpus: got 5"),
    "a date of another type": (put("date", value=None), "date: got None"),
    "negative memory": (put(*OURS, "peak_bytes", value=-1), "vgg.peak_bytes: got -1"),
    "a negative start": (put(*OURS, "first_step_seconds", value=-1), "vgg.first_step_seconds: got -1"),
    "not ok": (put("ok", value=False), "ok: got false"),
    "costs of another type": (put("ourselves", value=[]), "ourselves: got []"),
    "a cost less": (put("ourselves", "seconds", "numpy", value=[1.0]), "ourselves.seconds.vgg: got 11 numbers"),
    "no costs": (put("ourselves", "seconds", value={}), "ourselves.seconds.vgg: got nothing"),
    "a negative share": (put("ourselves", "seam", "torch", value=-1.0), "ourselves.seam.torch: got -1.0"),
    "imports of another type": (put("ourselves", "imported", value=5), "ourselves.imported: got 5"),
}


@pytest.mark.parametrize("edit", BENCH)
def test_timings_that_deny_themselves_are_refused(edit: str, tmp_path: Path) -> None:
    change, wanted = BENCH[edit]
    message = refusal(tmp_path, "bench-cpu.json", change)
    assert is_whole(message, tmp_path / "bench-cpu.json")
    assert wanted in message


def test_timings_of_a_round_and_of_what_failed_are_shown(tmp_path: Path) -> None:
    contents = loaded("bench-cpu.json")
    contents["rounds"], contents["ok"], contents["ourselves"]["seam"]["torch"] = 1, False, 0
    for workload in contents["workloads"].values():
        for column in workload["backends"].values():
            column["ceiling"] = column["ceiling"][:1]
            for one in column["contenders"].values():
                one.update({phase: one[phase][:1] for phase in ("train", "infer") if phase in one})
    put(*OURS, value={"error": "broke"})(contents)
    (tmp_path / "bench.json").write_text(json.dumps(contents))
    assert "failed: broke" in html.document(collect([tmp_path / "bench.json"]))


HEADS: dict[str, tuple[Edit, str]] = {
    "a date of another type": (put("date", value=5), "date: got 5"),
    "no version": (drop("vgg"), "vgg: got nothing"),
    "a commit of another type": (put("commit", value={}), "commit: got {}"),
    "a machine of another type": (put("machine", value="x"), "machine: got 'x'"),
    "no cores": (drop("machine", "cores"), "machine.cores: got nothing"),
    "GPUs of another type": (put("machine", "gpus", value="x"), "machine.gpus: got 'x'"),
    "a network of another type": (put("spec", value=[]), "spec: got []"),
    "no network": (put("spec", value={}), "spec: spec: got "),
    "a recipe of another type": (put("recipe", value="quick"), "recipe: got 'quick'"),
    "a batch of another type": (put("recipe", "batch_size", value="x"), "recipe.batch_size: got 'x'"),
    "a NaN": (put("recipe", "lr", value=float("nan")), "recipe.lr: got nan"),
}
COMPARISONS = HEADS | {
    "backends of another type": (put("backends", value=[]), "backends: got []"),
    "a column of another type": (put("backends", "torch", value=5), "got 5"),
    "seeds of another type": (put("seeds", value=5), "seeds: got 5"),
    "a seed of another type": (put("seeds", value=["x"]), "seeds.0: got 'x'"),
    "options of another type": (put("options", value=5), "options: got 5"),
    "options without backends": (put("options", value={}), "options.backends: got nothing"),
    "no seeds beside options": (lambda c: c.update(options={"backends": []}, seeds=[]), "seeds: got none"),
    "pairs of another type": (put("pairs", value={}), "pairs: got {}"),
    "a pair of another type": (put("pairs", value=[5]), "pairs.0: got 5"),
    "a pair of nothing": (put("pairs", value=[{}]), "pairs.0.backends: got nothing"),
    "ok of another type": (put("ok", value="yes"), "ok: got 'yes'"),
}


@pytest.mark.parametrize("edit", COMPARISONS)
def test_a_comparison_with_another_head_is_refused(edit: str, tmp_path: Path) -> None:
    change, wanted = COMPARISONS[edit]
    contents = copy.deepcopy(compared(tmp_path / "both")[0])
    change(contents)
    (tmp_path / "both" / "compare.json").write_text(json.dumps(contents))
    with pytest.raises(VGGError, match=r"compare\.json: .*got .*, wanted ") as error:
        collect([tmp_path / "both"])
    assert wanted in str(error.value)


@pytest.mark.parametrize("edit", HEADS)
def test_a_run_with_another_head_is_refused(edit: str, tmp_path: Path) -> None:
    change, field = HEADS[edit][0], HEADS[edit][1].split(":")[0].split(".")[0]
    written(tmp_path / "one", steps=8)
    head = {name: value for name, value in result([]).items() if name not in ("backends", "ok")}
    contents = copy.deepcopy({**head, "backend": "jax", "facts": FACTS, "summary": SUMMARY})
    change(contents)
    (tmp_path / "one" / "run.json").write_text(json.dumps(contents))
    with pytest.raises(VGGError, match=rf"run\.json: {field}[.:].*got .*, wanted "):
        collect([tmp_path / "one"])


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("compare.json", {"backends": {}}, "got the compare.json of a directory, wanted the directory itself"),
        ("both.json", {"backends": {}}, "; put it into a directory as compare.json, and name that"),
        ("run.json", {"backend": "jax", "recipe": {}}, "got the run.json of a directory, wanted the directory itself"),
    ],
)
def test_a_file_of_a_directory_is_shown_by_naming_that(
    name: str, contents: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(contents))
    with pytest.raises(VGGError) as error:
        collect([tmp_path / name])
    assert message in str(error.value)
    assert (f"; vgg report {tmp_path}" in str(error.value)) is (name != "both.json")


def test_results_are_to_be_named_one_by_one_where_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> str:
        return str(1 // 0)

    monkeypatch.setattr(html, "document", fails)
    for places, do in (([BENCH_FILE], "make it again with this version"), ([BENCH_FILE] * 2, "name them one by one")):
        with pytest.raises(VGGError, match=rf"bench-cpu\.json: cannot be shown \(ZeroDivisionError.*; {do}"):
            api.report(places, out=tmp_path / "page.html")
