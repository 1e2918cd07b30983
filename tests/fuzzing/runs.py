"""Run directories that somebody has edited, torn or mixed, continued by ``vgg train --resume``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

from safetensors.numpy import load_file

from vgg.runs import results, train
from vgg.runs.options import Setup

from . import mutations, nasty, oracle, weights
from .base import FOREIGN, Fuzzer, UnsoundError, command

OWN = re.compile(
    r"run/(run\.json|metrics\.jsonl|evaluation\.json|report\.html|weights\.safetensors"
    r"|checkpoints/epoch-\d+-step-\d+\.safetensors)"
)
STRAYS = (
    *(".draft.2", "notes.txt", "metrics.jsonl.bak", ".run.json.orig", "checkpoints/.mine.1", "checkpoints/notes"),
    *("checkpoints/epoch-best.safetensors", "checkpoints/epoch-1-step-x.safetensors", "checkpoints/old/epoch-0000.txt"),
    *("checkpoints/epoch-0001-step-000001 (copy).safetensors", "checkpoints/epoch-.safetensors", "tensorboard/x"),
)
NAMES = ("epoch-9999-step-000001", "epoch-10000-step-000000", "epoch-0000-step-000001", "epoch-1-step-1", "epoch-0003")


class Fuzz(Fuzzer):
    """A run of two epochs of two steps goes on to a third."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        oracle.announce(home / "plugins")
        Setup.worker = lambda setup, entry, **_: oracle.Inside(entry)  # type: ignore[method-assign,assignment]
        (home / "tiny.toml").write_text(oracle.TINY)
        job = ("train", "oracle", str(home / "tiny.toml"), *oracle.TRAIN, "--every", "1", "--keep", "3", "--json")
        command(*job, "--epochs", "2", "--out", str(home / "valid"))
        command(*job, "--epochs", "3", "--out", str(home / "calm"))
        self.summary = json.loads((home / "valid" / "run.json").read_text())["summary"]
        self.calm = load_file(home / "calm" / "weights.safetensors")

    def owns(self, path: str) -> bool:
        return OWN.fullmatch(path) is not None

    def plain(self, folder: Path) -> bool:
        shutil.copytree(self.home / "valid", folder / "run")
        self.first = self._first_row(folder / "run")
        return True

    def make(self, random: Random, folder: Path) -> None:
        run = folder / "run"
        shutil.copytree(self.home / "valid", run)
        (folder / FOREIGN).write_text("mine")
        for stray in random.sample(STRAYS, random.choice((0, 1, 3))):
            (run / stray).parent.mkdir(exist_ok=True)
            (run / stray).write_text("mine")
        for _ in range(random.choice((1, 1, 2))):
            self._spoil(random, run)
        self.first = self._first_row(run)

    def _spoil(self, random: Random, run: Path) -> None:
        paths = sorted(path for path in run.rglob("*") if self.owns(f"run/{path.relative_to(run)}"))
        path = random.choice([path for path in paths if path.suffix != ".html"])
        match random.randrange(12):
            case 0:
                path.unlink()
            case 1:
                nasty.put(random, path)
            case 2:
                path.write_bytes(mutations.noise(random, b""))
            case 3 | 4 if path.suffix == ".safetensors":
                path.rename(path.with_stem(random.choice(NAMES)))
            case 3:
                nasty.put(random, run / "checkpoints")
            case _:
                self._change(random, path)

    def _change(self, random: Random, path: Path) -> None:
        if not path.is_file() or path.is_symlink():
            return
        data, change = path.read_bytes(), mutations.bytewise
        if data and random.random() < 0.8:
            kinds = {".json": _json, ".jsonl": _row, ".safetensors": weights.mutant}
            change = kinds[path.suffix]
        try:
            path.write_bytes(change(random, data))
        except (ValueError, LookupError, TypeError, AttributeError):  # it has been changed before
            path.write_bytes(mutations.bytewise(random, data))

    def read(self, folder: Path) -> None:
        run = folder / "run"
        command("train", "--resume", str(run), "--epochs", "3", "--json")
        ended = load_file(run / "weights.safetensors")
        if {n: a.tobytes() for n, a in ended.items()} != {n: a.tobytes() for n, a in self.calm.items()}:
            raise UnsoundError("went on to other weights than the undisturbed run, and did not say so")
        everything = (path.read_bytes() for path in run.rglob("*") if path.is_file())
        if self.first and not any(self.first in content for content in everything):
            raise UnsoundError("lost the history of the run, and did not say so")

    def _first_row(self, run: Path) -> bytes:
        """Return the first line of the metrics where it is as the program wrote it."""
        line = (self.home / "valid" / "metrics.jsonl").read_bytes().splitlines()[0]
        path = run / "metrics.jsonl"
        return line if path.is_file() and not path.is_symlink() and path.read_bytes().startswith(line + b"\n") else b""


class Reports(Fuzz):
    """A finished run of which the page is made again, and whose metrics and weights the Python API reads."""

    def read(self, folder: Path) -> None:
        run = folder / "run"
        train.report(run)
        finished = results.Run("oracle", run, self.summary)
        _ = finished.metrics
        finished._repr_html_()
        finished.weights()


def _json(random: Random, data: bytes) -> bytes:
    tree: Any = json.loads(data)
    return mutations.to_json(mutations.treewise(random, tree), random.choice((None, 1)))


def _row(random: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    place = random.randrange(len(lines))
    lines[place] = _json(random, lines[place]).replace(b"\n", b"") + random.choice((b"\n", b"\n", b"\n", b""))
    return b"".join(lines)
