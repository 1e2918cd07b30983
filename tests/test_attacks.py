"""A small fixed sample of what ``attacks.py`` does for as long as one likes, and whether it notices planted faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import pytest
from fuzzing import mutations, nasty, oracle
from fuzzing.base import Fuzzer
from fuzzing.campaign import Campaign, grouped
from fuzzing.judge import fits
from fuzzing.kinds import KINDS, fuzzer
from killing import lives
from killing.chains import Chain
from killing.comparisons import Comparison
from killing.game import Table
from killing.lives import Aim, aims, live
from killing.phases import Watch
from killing.processes import Command

HOLDING = {"spec": 60, "known failures": 60, "weights": 80, "bench result": 100, "images": 200, "lock file": 190}
"""Kind -> how many inputs, from the first on, the program treats as it should."""
PLANTED = {
    "Raises": ("ValueError: a reader that forgot to translate this", ""),
    "Hangs": ("hang", ""),
    "Waits": ("hang", ""),
    "Deletes": ("removed a file of the user", "notes of the user.txt"),
    "Changes": ("changed a file of the user", "notes of the user.txt"),
    "Hoards": ("MemoryError: ", ""),
    "Dies": ("the process ended with -6", ""),
    "Babbles": ("a message of ", ""),
    "Leaves": ("left a file", "tmp/tmp"),
    "Escapes": ("left a file", "outside"),
}
ORPHANS = "import subprocess, sys, time; subprocess.Popen(['sleep', '60'], start_new_session=True); "
DEBRIS = "import tempfile, time; tempfile.mkdtemp(); "
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
LOUD = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: 1 / 0); "
RUNS = "open('begun', 'w').close(); time.sleep(60)"


@pytest.mark.parametrize("kind", HOLDING)
def test_hostile_inputs_end_in_success_or_a_short_message(kind: str) -> None:
    campaign = Campaign(kind, seed=0).run(60, most=HOLDING[kind])
    assert campaign.inputs == HOLDING[kind]
    assert grouped(campaign.faults) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_noticed_and_the_next_input_is_read(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if PLANTED[fault][0] == "hang":
        monkeypatch.setenv("VGG_FUZZ_SECONDS", "0.3")
    campaign = Campaign(f"planted:{fault}", seed=0).run(60, most=2)
    assert campaign.inputs == len(campaign.faults) == 2
    what, where = PLANTED[fault]
    assert campaign.faults[0]["what"].startswith(what)
    assert campaign.faults[0]["where"].startswith(where)
    assert campaign.faults[1]["again"] == f"python tests/attacks.py --again 'planted:{fault}' 1 --seed 0"


@pytest.mark.parametrize("kind", ["spec", "weights", "images"])
def test_an_input_is_made_from_its_seed_kind_and_index_alone(kind: str, tmp_path: Path) -> None:
    made = [_made(fuzzer(kind)(tmp_path), tmp_path / str(turn)) for turn in range(2)]
    assert made[0] == made[1]
    assert len({str(one) for one in made[0]}) == 5


def _made(fuzz: Fuzzer, home: Path) -> list[dict[str, bytes]]:
    folders = [home / str(index) for index in range(5)]
    for index, folder in enumerate(folders):
        folder.mkdir(parents=True)
        fuzz.make(Random(f"0/{index}"), folder)
    return [{path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} for folder in folders]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_a_valid_input_and_then_hostile_ones(kind: str) -> None:
    assert Campaign(kind, seed=0).run(60, most=1).inputs == 1


def test_a_kind_whose_valid_input_is_refused_is_no_kind() -> None:
    with pytest.raises(RuntimeError, match="the fuzzer is at fault, or a valid input is refused"):
        Campaign("planted:Refuses", seed=0).run(60, most=1)


def test_raw_texts_and_repeated_keys_stand_in_json_and_toml_as_they_are() -> None:
    tree = {"a": f"{nasty.RAW}1e999{nasty.RAW}", f"a{mutations.AGAIN}": 2}
    assert mutations.to_json(tree) == b'{"a": 1e999, "a": 2}'
    assert mutations.to_toml(tree) == b"a = 1e999\na = 2\n"


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("input.json: got 1, wanted 2", True),
        ("torch: train: its process exited\n  | " + "\n  | ".join(["line"] * 15), True),
        ("a\nb\nc\nd\ne", False),
        ("x" * 2000, False),
        ("name: \x1b[2J", False),
    ],
)
def test_a_message_is_short_and_steers_no_terminal(text: str, fit: bool) -> None:
    assert fits(text) is fit


def test_signals_are_aimed_at_every_phase_of_every_target_where_something_is_promised() -> None:
    every = aims(("parent", "worker", "uv"))
    assert len(every) == len(set(every)) == 7 * 6 + 6 * 5 + 2 + 7 * 5 + 2
    assert Aim("import", "worker", "SIGKILL") in every
    assert Aim("environment", "worker", "SIGKILL") not in every


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        (ORPHANS, "orphan: "),
        (DEBRIS, "left in the folder for temporary files: tmp"),
        (DEAF, "did not end in 1 s"),
        (LOUD, "Traceback (most recent call last):"),
    ],
)
def test_what_a_killed_command_leaves_is_noticed(
    program: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "ENDING", 1 if program == DEAF else 60)
    monkeypatch.setattr(lives, "GRACE", 0.1)
    (tmp_path / "tmp").mkdir()
    command = Command(tmp_path, (), os.environ.get("PYTHONPATH", ""), program + RUNS)
    watch = Watch(command, tmp_path / "run", Random(0), {})
    death = live(command, watch, Aim("environment", "parent", "SIGTERM"), Random(0), set())
    assert death.hit
    assert death.wrong[0].startswith(wrong)
    assert command.members() == []


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    oracle.announce(tmp_path / "plugins")
    return Table(0, tmp_path, os.environ["PYTHONPATH"])


def test_a_run_of_other_bits_is_noticed(table: Table) -> None:
    chain = Chain("oracle", table)
    chain.calm["losses"][3] += 1e-9
    death = chain.play(Aim("step", "worker", "SIGSTOP SIGCONT"))
    assert death.wrong == ["ended with other bits than an undisturbed run"]
    assert [error["index"] for error in chain.errors] == [1]


def test_a_comparison_outlives_its_worker_and_goes_on(table: Table) -> None:
    comparison = Comparison(table)
    assert comparison.play(Aim("step", "worker", "SIGKILL")).status == 1
    assert comparison.play(Aim("step", "parent", "SIGKILL")).status == -9
    assert comparison.play(Aim("step", "parent", "SIGTERM")).status == 130
    assert comparison.errors == []
    assert comparison.table_of_kills() == {
        "SIGKILL": {"parent": {"step": 1}, "worker": {"step": 1}},
        "SIGTERM": {"parent": {"step": 1}},
    }
