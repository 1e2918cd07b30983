"""Runs that get signals, life after life, in one folder; what all kinds of them have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from random import Random
from typing import Any

from safetensors.numpy import load_file

from .lives import Aim, Death, aims, live
from .phases import EPOCHS, Watch, timed
from .processes import Command

NET = "blocks = [[1, 4], [1, 6]]\ninput_shape = [1, 13, 10]\nclasses = 10\nhead = {hidden = [9], dropout = 0.5}\n"
JOB = ("--dataset", "digits", "--batch-size", "180", "--lr", "0.05", "--set", "momentum=0.9", "--epochs", str(EPOCHS))


@dataclass(frozen=True)
class Table:
    """The ``seed`` of all that is random, the folder ``home``, and where Python finds ``plugins``."""

    seed: int
    home: Path
    plugins: str


class Game(ABC):
    """A command that is played with under ``name``. Its errors and its kills are counted."""

    silent = 30
    """Seconds that a worker may be silent."""

    def __init__(self, name: str, table: Table) -> None:
        self.name, self.table, self.home = name, table, table.home / name.replace(", ", "-")
        self.random = Random(f"{table.seed}/{name}")
        self.kills, self.plays, self.ended = Counter[Aim](), 0, 0
        self.errors: list[dict[str, Any]] = []
        self.hits: list[str] = []
        (self.home / "tmp").mkdir(parents=True)
        self.seconds, targets = self.begin()
        self.deck = self._shuffled(aims(targets))

    @abstractmethod
    def begin(self) -> tuple[dict[str, float], tuple[str, ...]]:
        """Run the command undisturbed, and return what ``timed`` does."""

    @abstractmethod
    def command(self) -> tuple[Command, Path]:
        """Start the command, or what goes on with it; return it and the run directory to watch."""

    @abstractmethod
    def faults(self, death: Death) -> list[str]:
        """Return what is wrong with the files after a life, and prepare for the next."""

    def play(self, aim: Aim | None = None) -> Death:
        """Live one life with this aim, or with the next of all, and return how it ended."""
        self.plays += 1
        usual, earlier = {path.name for path in (self.home / "tmp").iterdir()}, list(self.hits)
        command, run = self.command()
        watch = Watch(command, run, self.random, self.seconds)
        death = live(command, watch, aim or next(self.deck), self.random, usual)
        self.hits += [" ".join(astuple(death.aim))] * death.hit
        death.wrong += self.faults(death)
        if death.wrong:
            where = {"kind": f"kill of {self.name}", "seed": self.table.seed, "index": self.plays}
            self.errors.append({**where, **death.to_dict(), "earlier_in_this_run": earlier})
        elif death.hit:
            self.kills[death.aim] += 1
        return death

    def table_of_kills(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return how often a kill was survived, by signal, target and phase."""
        table: dict[str, dict[str, dict[str, int]]] = {}
        for aim, times in sorted(self.kills.items(), key=lambda kill: astuple(kill[0])[::-1]):
            table.setdefault(aim.signal, {}).setdefault(aim.target, {})[aim.phase] = times
        return table

    def start(self, *arguments: str) -> Command:
        """Start ``vgg`` with these arguments in this game's folder."""
        return Command(self.home, (*arguments, "--timeout", str(self.silent)), self.table.plugins)

    def timed(self, command: Command, run: Path) -> tuple[dict[str, float], tuple[str, ...]]:
        """Return (seconds of the phases, targets) of a command that nothing disturbs.

        Raises ``RuntimeError`` if it fails.
        """
        times = timed(command, run)
        if command.process.returncode:
            raise RuntimeError(f"{self.name}: fails undisturbed: {command.said.read_text()[-500:]}")
        return times

    def _shuffled(self, deck: Sequence[Aim]) -> Iterator[Aim]:
        while True:
            yield from self.random.sample(deck, len(deck))


def left(run: Path) -> dict[str, Any]:
    """Return every bit of the losses and weights that a run ended with."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    weights = load_file(run / "weights.safetensors")
    return {
        "losses": [row["loss"] for row in rows if "loss" in row],
        "tests": [row["test_loss"] for row in rows if "test_loss" in row],
        "weights": {name: array.tobytes() for name, array in weights.items()},
    }
