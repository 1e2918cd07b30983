"""Runs of ``vgg train`` that are killed and resumed until they end: with the bits of an undisturbed one."""

from __future__ import annotations

import shutil
from pathlib import Path

from .game import JOB, NET, Game, Table, left
from .lives import Death
from .processes import Command


class Chain(Game):
    """A ``backend`` that trains; with several ``replicas`` its network has no batch norm, which not all can share."""

    def __init__(self, backend: str, table: Table, replicas: int = 1) -> None:
        more = ("--replicas", str(replicas), "--deterministic") if replicas > 1 else ()
        self.job = ("train", backend, "net.toml", *JOB, "--every", "1", *more)
        self.norm = "batch_norm = true\n" if replicas == 1 else ""
        self.silent = 10 if backend == "oracle" else 30
        super().__init__(f"{backend}, {replicas} replicas" if more else backend, table)

    def begin(self) -> tuple[dict[str, float], tuple[str, ...]]:
        (self.home / "net.toml").write_text(self.norm + NET)
        times = self.timed(self.start(*self.job, "--out", "calm"), self.home / "calm")
        self.calm, self.rough = left(self.home / "calm"), self.home / "rough"
        return times

    def command(self) -> tuple[Command, Path]:
        resume = (self.rough / "run.json").exists()
        return self.start(*(("train", "--resume", "rough") if resume else (*self.job, "--out", "rough"))), self.rough

    def faults(self, death: Death) -> list[str]:
        ended = death.status == 0
        if not ended and (death.hit or not death.wrong):
            return []
        same = not ended or left(self.rough) == self.calm
        self.ended += ended and same
        self.hits.clear()
        shutil.rmtree(self.rough, ignore_errors=True)
        return [] if same else ["ended with other bits than an undisturbed run"]
