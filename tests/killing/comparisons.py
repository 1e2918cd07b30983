"""Runs of ``vgg compare`` that are killed and resumed until they end: with the bits of an undisturbed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .game import JOB, NET, Game, Table, left
from .lives import Death
from .processes import Command

NAMES = ("oracle", "evil")
"""The same backend under two names."""
SEEDS = (0, 1)


class Comparison(Game):
    """A comparison of two backends with two seeds. When the worker of one dies, the other goes on."""

    silent = 10

    def __init__(self, table: Table) -> None:
        super().__init__("comparison", table)

    def begin(self) -> tuple[dict[str, float], tuple[str, ...]]:
        (self.home / "net.toml").write_text(NET)
        self.rough = self.home / "rough"
        command, run = self.command()
        times = self.timed(command, run)
        self.calm = {seed: left(self._run(NAMES[0], seed)) for seed in SEEDS}
        shutil.rmtree(self.rough)
        return times

    def command(self) -> tuple[Command, Path]:
        pending = [(name, seed) for name in NAMES for seed in SEEDS if (name, seed) not in self._finished()]
        run = self._run(*self.random.choice(pending))
        if (self.rough / "compare.json").exists():
            return Command(self.home, ("compare", "--resume", "rough"), self.table.plugins), run
        shutil.rmtree(self.rough, ignore_errors=True)
        options = ("--arch", "net.toml", *JOB, "--seeds", str(len(SEEDS)), "--out", "rough")
        return self.start("compare", *NAMES, *options), run

    def faults(self, death: Death) -> list[str]:
        """Look at every run that ``compare.json`` calls finished; a comparison that has ended has them all."""
        wrong = [f"exit status 2: {death.status}"] if death.status == 2 else []
        finished = self._finished()
        wrong += [f"{name}, seed {seed}: other bits" for name, seed in finished if self._differs(name, seed)]
        if death.status == 0 and len(finished) < len(NAMES) * len(SEEDS):
            wrong.append(f"ended with the runs {finished} alone")
        if death.status == 1 and not finished:
            wrong.append("none of its runs went on")
        self.ended += death.status == 0 and not wrong
        if death.status == 0 or wrong:
            self.hits.clear()
            shutil.rmtree(self.rough, ignore_errors=True)
        return wrong

    def _finished(self) -> list[tuple[str, int]]:
        path = self.rough / "compare.json"
        columns: dict[str, Any] = json.loads(path.read_text())["backends"] if path.exists() else {}
        return [(name, int(seed)) for name, column in columns.items() for seed in column.get("runs", {})]

    def _differs(self, name: str, seed: int) -> bool:
        return left(self._run(name, seed)) != self.calm[seed]

    def _run(self, name: str, seed: int) -> Path:
        return self.rough / name / f"seed-{seed}"
