"""Runs that are killed and resumed, life after life, until they end: with the bits of an undisturbed one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from safetensors.numpy import load_file

from .lives import Aim, Death, aims, live
from .phases import EPOCHS, Watch, timed
from .processes import Command

SPEC = 'blocks = [[1, 4], [1, 6]]\ninput_shape = [1, 13, 10]\nclasses = 10\nhead = {hidden = [9], dropout = 0.5}\n'
JOB = ("--dataset", "digits", "--batch-size", "180", "--lr", "0.05", "--set", "momentum=0.9", "--every", "1")


@dataclass
class Game:
    """A backend whose runs are killed in the folder ``home``; with several ``replicas`` its network has no batch norm."""

    backend: str
    home: Path
    plugins: str
    seed: int
    replicas: int = 1
    timeout: int = 30
    deaths: list[Death] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    ended: int = 0

    def __post_init__(self) -> None:
        self.timeout = 5 if self.backend == "oracle" else self.timeout
        self.random = Random(f"{self.seed}/{self.name}")
        (self.home / "tmp").mkdir(parents=True)
        norm = "batch_norm = true\n" if self.replicas == 1 else ""
        (self.home / "net.toml").write_text(norm + SPEC)
        more = ("--replicas", str(self.replicas), "--deterministic") if self.replicas > 1 else ()
        self.job = ("train", self.backend, "net.toml", *JOB, "--epochs", str(EPOCHS), *more)
        self.seconds = timed(self._command("calm"), self.home / "calm")
        self.calm = left(self.home / "calm")
        self.lives, self.rough = list[Death](), self.home / "rough"
        self.deck = self._deck()

    @property
    def name(self) -> str:
        """The name in results."""
        return self.backend if self.replicas == 1 else f"{self.backend}, {self.replicas} replicas"

    def _deck(self) -> Iterator[Aim]:
        """Yield all aims in random order, again and again."""
        targets = ("parent", "worker") if self.backend == "oracle" else ("parent", "worker", "uv")
        if self.backend == "torch" and self.replicas > 1:
            targets = (*targets, "launcher")
        while True:
            deck = aims(targets)
            self.random.shuffle(deck)
            yield from deck

    def _command(self, run: str) -> Command:
        resume = (self.home / run / "run.json").exists()
        job = ("train", "--resume", run) if resume else (*self.job, "--out", run)
        return Command(self.home, (*job, "--timeout", str(self.timeout)), self.plugins)

    def play(self) -> None:
        """Live one life; where the run has ended by it, compare its bits and let the next be a new one."""
        command = self._command("rough")
        watch = Watch(command, self.rough, self.random, self.seconds)
        death = live(command, watch, next(self.deck), self.random, self.home / "tmp")
        self.lives.append(death)
        self.deaths += [death] * death.hit
        if death.status == 0 and not death.wrong and left(self.rough) != self.calm:
            death.wrong.append("ended with other bits than an undisturbed run")
        if death.wrong:
            self.errors.append(self._error(death))
        if death.status == 0 or (death.wrong and not death.hit):
            self.ended += death.status == 0
            self._forget()

    def _error(self, death: Death) -> dict[str, Any]:
        before = [f"{life.aim.signal} {life.aim.target} {life.aim.phase}" for life in self.lives if life.hit]
        return {"kind": f"kill of {self.name}", "seed": self.seed, "life": len(self.deaths), **death.to_dict(), "before": before}

    def _forget(self) -> None:
        self.lives = []
        shutil.rmtree(self.rough, ignore_errors=True)


def left(run: Path) -> dict[str, Any]:
    """Return every bit of the losses and weights that a run ended with."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    weights = load_file(run / "weights.safetensors")
    return {
        "losses": [row["loss"] for row in rows if "loss" in row],
        "tests": [row["test_loss"] for row in rows if "test_loss" in row],
        "weights": {name: array.tobytes() for name, array in weights.items()},
    }
