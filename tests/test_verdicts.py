"""A verdict is not green by accident: what was not judged counts for nothing, whatever surrounds the suite."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import Check

from vgg.backends import DTYPES
from vgg.conformance import run
from vgg.conformance.board import Board
from vgg.conformance.declared import FACTS, Fact
from vgg.conformance.session import Results
from vgg.conformance.suite import cells
from vgg.core.comparator import EXACT, Verdict

FORWARD, BACKWARD = "forward plain float64 eval", "backward plain float64 eval"
SOURCE = """
from vgg.process import registry
registry._OWN["torch"] = registry.Entry("torch", "faulty_backend")
"""
"""Puts the faulty backend in the place of torch, in the parent."""

# What was not judged


@pytest.mark.parametrize(
    ("fault", "given"),
    [("import", "exchange"), ("off", "exchange"), ("raises", "exchange"), ("no steps", "relay")],
)
def test_what_another_backend_hands_over_badly_is_held_against_nobody_and_is_no_pass(
    check: Check, tmp_path: Path, fault: str, given: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SOURCE)
    name = f"{given} torch" if given == "relay" else f"{given} torch float64"
    status, result, printed = check("oracle", "-k", f"{name.replace(' ', '-')} or claims", fault=fault)
    cell = result["checks"][name]["oracle"]
    assert (status, result["ok"], cell["outcome"]) == (1, False, "not judged")
    assert cell["reason"].startswith("torch had nothing sound to hand over: ")
    assert "over: torch: " not in cell["reason"]
    assert result["judged"]["oracle"][0] == 1
    assert "NOT JUDGED" in printed
    assert f"{name}: oracle was not judged: torch had nothing sound to hand over: " in printed


def test_what_was_not_judged_for_a_known_reason_is_forgiven_and_still_not_judged(check: Check, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SOURCE)
    (tmp_path / "known.toml").write_text(
        '[[known]]\nid = "exchange torch *"\nmatch = "nothing sound"\nreason = "no torch here"\nlink = "none"\n'
    )
    asked = ("-k", "exchange-torch or claims", "--known", str(tmp_path / "known.toml"))
    status, result, printed = check("oracle", *asked, fault="import")
    assert (status, result["ok"]) == (0, True)
    assert result["judged"]["oracle"][0] == 1
    assert "exchange torch float32: oracle was not judged: torch had nothing sound to hand over" in printed


def test_nothing_judged_is_not_ok(check: Check) -> None:
    status, result, printed = check("oracle", "-k", "no_such_check")
    assert (status, result["ok"], result["checks"], result["judged"]["oracle"][0]) == (2, False, {}, 0)
    assert "-k: got 'no_such_check', which leaves nothing to judge of oracle, wanted an expression" in printed


def test_a_backend_of_which_nothing_is_judged_is_not_ok_beside_one_that_passes(check: Check) -> None:
    status, result, printed = check("oracle", "modest", "-k", "plain-float64-eval")
    assert (status, result["ok"]) == (2, False)
    assert {name: judged[0] for name, judged in result["judged"].items()} == {"oracle": 2, "modest": 0}
    assert "nothing to judge of modest" in printed


def test_the_last_line_says_how_much_was_judged(check: Check) -> None:
    status, result, printed = check("oracle", "-k", "plain-float64-eval or oracle-ties")
    assert status == 0
    count, total = result["judged"]["oracle"]
    assert (count, total) == (3, len(cells()) + len(FACTS))
    assert printed.splitlines()[-1] == f"oracle: judged 3 of {total}"


def test_a_count_of_outcomes_decides() -> None:
    good, bad = Verdict(0.0, EXACT), Verdict(1.0, EXACT, "", "wrong")
    board = Board(["a", "b"], {"one": ("inference", ()), "two": ("training", ()), "declared ties": ("gradients", ())})
    board.begun = True
    assert board.status() == 2
    board.note("one", "a", good)
    assert board.status() == 2
    board.note("one", "b", bad, known=True, expected=True)
    assert (board.status(), board.judged("b")) == (1, (1, 3))
    board.left_out |= {("a", "two"), ("b", "two")}
    board.facts["ties"] = {"a": Fact("first", 0.0)}
    assert board.status() == 1
    board.claims["b"] = ("inference", ["float32"])
    assert (board.status(), board.judged("b"), board.judged("a")) == (0, (1, 1), (2, 3))
    board.note("two", "a", good, expected=True)
    assert board.status() == 1


@pytest.mark.parametrize(
    ("ended", "interrupted", "status"),
    [
        (pytest.ExitCode.OK, False, 0),
        (pytest.ExitCode.TESTS_FAILED, False, 1),
        (pytest.ExitCode.INTERRUPTED, True, 130),
        (pytest.ExitCode.INTERRUPTED, False, 70),
        (pytest.ExitCode.INTERNAL_ERROR, False, 70),
        (pytest.ExitCode.USAGE_ERROR, False, 2),
        (pytest.ExitCode.NO_TESTS_COLLECTED, False, 2),
    ],
)
def test_however_pytest_ends_only_a_success_of_both_is_one(
    ended: pytest.ExitCode, interrupted: bool, status: int
) -> None:
    results = Results()
    results.board, results.interrupted = Board(["a"], {"one": ("inference", ())}, begun=True), interrupted
    results.board.note("one", "a", Verdict(0.0, EXACT))
    assert run.exit_status(ended, results) == status


def test_a_session_without_a_board_is_no_success() -> None:
    assert run.exit_status(pytest.ExitCode.OK, Results()) == 2


# Levels and dtypes


def test_a_claim_that_changes_with_a_workers_death_is_no_way_out() -> None:
    board = Board(["a"], {"one": ("inference", ()), "two": ("training", ())}, begun=True)
    board.claims["a"] = ("training", ["float64"])
    board.note("one", "a", Verdict(0.0, EXACT))
    board.leave("two", "a", "not claimed: training", "not claimed")
    assert (board.outcome("a", "two"), board.status()) == ("not judged", 1)


def test_a_backend_that_claims_less_is_asked_less_and_judged_in_all_of_it(check: Check, tmp_path: Path) -> None:
    path, asked = tmp_path / "report.xml", ("-k", "not exchange and not relay and not code and not structure-vgg1")
    status, result, printed = check("modest", *asked, "--junit", str(path))
    outcomes = {name: row["modest"]["outcome"] for name, row in result["checks"].items()}
    needs = {name: (cell.level, cell.dtypes) for name, cell in cells().items() if name in outcomes}
    claimed = {name for name, (level, dtypes) in needs.items() if level == "inference" and "float64" not in dtypes}
    assert status == 0, printed
    assert {name for name, outcome in outcomes.items() if outcome == "passed"} == claimed
    assert {outcome for name, outcome in outcomes.items() if name not in claimed} == {"not claimed"}
    assert {"claims", "structure alexnet", "forward mixed float32 eval", "properties float32"} <= claimed
    assert result["claims"]["modest"] == {"level": "inference", "dtypes": ["float32"]}
    assert printed.splitlines()[-1].startswith("modest: inference, float32: judged ")
    skipped = [case for case in ET.parse(path).getroot()[0] if case.find("skipped") is not None]
    facts = [row["modest"]["text"] for row in result["declared"].values()]
    assert len(skipped) == sum(o == "not claimed" for o in [*outcomes.values(), *facts])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VGG_LEVEL", "trainnig", "unknown LEVEL 'trainnig': did you mean training?"),
        ("VGG_DTYPES", "float16", f"unknown dtype in DTYPES 'float16': did you mean {DTYPES[0]}"),
        ("VGG_DTYPES", "", "DTYPES: got (), wanted a tuple of one or more of float64, float32"),
        ("VGG_LEVEL", "gradients", "got no loss_and_grads, wanted the functions vgg_block, build"),
    ],
)
def test_a_claim_that_is_none_is_refused_when_the_worker_starts(
    check: Check, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    status, result, _ = check("modest", "-k", "claims")
    assert status == 1
    assert message in result["checks"]["claims"]["modest"]["reason"]
