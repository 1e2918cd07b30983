"""Runs of ``vgg compare``: when one backend dies the others go on, and a dead comparison hinders no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .game import JOB, NET, Game, Table, left
from .lives import Death
from .processes import Command

NAMES = ("oracle", "evil")
"""The same backend under two names."""


class Comparison(Game):
    """A comparison of two backends, begun anew in every life."""

    silent = 10

    def __init__(self, table: Table) -> None:
        super().__init__("comparison", table)

    def begin(self) -> tuple[dict[str, float], tuple[str, ...]]:
        (self.home / "net.toml").write_text(NET)
        command, run = self.command()
        times = self.timed(command, run)
        self.calm = left(run)
        return times

    def command(self) -> tuple[Command, Path]:
        out = self.home / "rough"
        shutil.rmtree(out, ignore_errors=True)
        command = self.start("compare", *NAMES, "--arch", "net.toml", *JOB, "--out", "rough")
        return command, out / self.random.choice(NAMES)

    def faults(self, death: Death) -> list[str]:
        self.hits.clear()
        self.ended += death.status == 0
        if death.status not in (0, 1) or (death.aim.target == "parent" and death.status):
            return []
        columns = json.loads((self.home / "rough" / "compare.json").read_text())["backends"]
        sound = [name for name in NAMES if columns.get(name, {}).get("ok")]
        wrong = [] if len(sound) == 2 - death.status else [f"only {sound} of {NAMES} went on"]
        return wrong + [f"{name}: other bits" for name in sound if left(self.home / "rough" / name) != self.calm]
