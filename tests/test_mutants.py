"""The suite against mutants: a sample of them dies, and every one that lives has a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutants_table import HEADING, PUBLISHED, published
from mutating import ROOT, SURVIVED, mutants, reasons

RESULT = json.loads(PUBLISHED.read_text())
OUTCOMES = {key: outcome for run in RESULT.values() for key, outcome in run["mutants"].items()}


def test_a_sample_of_the_oracles_mutants_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "mutants.json"
    command = [sys.executable, str(Path(__file__).with_name("mutants.py")), "oracle", str(out), "--sample", "30"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(out.read_text())["oracle"]["mutants"]
    assert len(outcomes) > 20
    assert [key for key, outcome in outcomes.items() if outcome == SURVIVED] == []


def test_every_mutant_that_lives_has_a_reason() -> None:
    assert [key for key, outcome in OUTCOMES.items() if outcome == SURVIVED and key not in reasons()] == []


def test_no_mutant_that_dies_has_a_reason_to_live() -> None:
    assert [key for key in reasons() if OUTCOMES.get(key, SURVIVED) != SURVIVED] == []


@pytest.mark.parametrize("file", sorted({key.partition(" ")[0] for key in reasons()}))
def test_every_reason_is_that_of_a_mutant(file: str) -> None:
    made = {mutant.key for mutant in mutants(ROOT / file)}
    assert [key for key in reasons() if key.startswith(f"{file} ") and key not in made] == []


def test_every_reason_says_something() -> None:
    assert {reason.kind for reason in reasons().values()} <= {"allowed", "equivalent", "unreached"}
    assert min(len(reason.text.split()) for reason in reasons().values()) > 3


def test_the_published_section_is_that_of_the_committed_run() -> None:
    document = (ROOT / "docs" / "kill-matrix.md").read_text()
    assert HEADING + document.partition(HEADING)[2] == published()
