"""What is mutated and what is not, and how a trial tells deaths apart."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import mutants
import mutating
import pytest
from mutant_targets import Target
from mutating import SURVIVED, Mutant

from vgg import BackendError
from vgg.core.comparator import Verdict

SOURCE = '''
"""A module."""
Alias = list[int]

class Sum:
    """A class."""

    @property
    def half(self) -> int | None:
        """A docstring."""
        return self.total // 2 if self.total > 0 else None

def double(x: int = 3) -> int:
    if x < 0:
        raise ValueError("negative", x + 1)
    if x:
        return x * 2
    return x * 2
'''


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(mutating, "ROOT", tmp_path)
    (tmp_path / "sum.py").write_text(SOURCE)
    return {mutant.key: mutant.source for mutant in mutating.mutants(tmp_path / "sum.py")}


def test_a_mutant_is_named_by_its_line_and_has_no_other_change(made: dict[str, str]) -> None:
    line = "return self.total // 2 if self.total > 0 else None"
    assert made[f"sum.py Sum.half: {line} => {line.replace('//', '/')}"] == SOURCE.replace("//", "/")


def test_mutants_that_read_alike_are_counted(made: dict[str, str]) -> None:
    alike = [key for key in made if key.startswith("sum.py double: return x * 2 => return x / 2")]
    assert alike == [f"sum.py double: return x * 2 => return x / 2{nth}" for nth in ("", " #2")]


def test_defaults_and_conditions_are_mutated(made: dict[str, str]) -> None:
    assert "sum.py double: def double(x: int = 3) -> int: => def double(x: int = 4) -> int:" in made
    assert "sum.py double: if x < 0: => if x <= 0:" in made


@pytest.mark.parametrize("text", ["raise ValueError", "Alias =", "A docstring", "A module", "-> int | None"])
def test_what_says_nothing_of_numbers_is_not_mutated(made: dict[str, str], text: str) -> None:
    assert {source.count(text) for source in made.values()} == {1}


def _for_ever(_bench: Any) -> Verdict:
    while True:
        pass


def _raises(bench: Any) -> Verdict:
    bench.raised.append("no such layer")
    raise BackendError("no such layer")


def _stumbles(_bench: Any) -> Verdict:
    raise AssertionError


def _exits(_bench: Any) -> Verdict:
    raise SystemExit(3)


@pytest.mark.parametrize(("outcome", "kept"), [(SURVIVED, 2), ("verdict forward plain", 1)])
def test_reasons_of_what_dies_are_pruned(
    outcome: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutating, "REASONS", tmp_path / "reasons.toml")
    entry = 'file = "sum.py"\nfunction = "half"\nbefore = "x"\nafter = ["y", "z"]\nreason = "It is the same."\n'
    mutating.REASONS.write_text(f"# Why.\n[[equivalent]]\n{entry}")
    left = mutating.prune(
        {"sum.py half: x => y": SURVIVED, "sum.py half: x => z": outcome, "sum.py half: x => w": SURVIVED}
    )
    assert left == ["sum.py half: x => w"]
    assert len(mutating.reasons()) == kept
    assert mutating.REASONS.read_text().startswith("# Why.")


CELLS = {
    "well": lambda _bench: Verdict(0.0, 1.0),
    "wrong": lambda _bench: Verdict(2.0, 1.0, "", "two is too much"),
    "raises": _raises,
    "stumbles": _stumbles,
    "exits": _exits,
    "turns": _for_ever,
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (["well"], SURVIVED),
        (["well", "wrong", "raises"], "verdict wrong"),
        (["raises", "wrong"], "exception raises"),
        (["stumbles"], "verdict stumbles"),
        (["exits"], "death exits"),
        (["well", "turns"], "time turns"),
    ],
)
def test_a_trial_tells_how_a_mutant_dies(order: list[str], outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "SECONDS", 0.2)
    bench = type("Bench", (), {"raised": []})()
    target = Target((), bool, lambda _mutant: nullcontext(cast("Any", bench)), dict)
    trial = mutants.Trial(target, CELLS, {})
    assert trial.outcome(Mutant("sum.py", "half", "", ""), order) == outcome
