"""Many inputs of one kind: a child reads them, and another takes its place when it dies or hangs."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .child import READY

TESTS = Path(__file__).parents[1]
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where inputs are written: a disk would take most of the time."""
SILENT = float(os.environ.get("VGG_FUZZ_SILENT", "20"))
"""Seconds without a word after which the child hangs where Python's signals do not reach."""


@dataclass
class Campaign:
    """How many inputs of a ``kind`` were read, and what was wrong, each with its index."""

    kind: str
    seed: int
    inputs: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)

    def run(self, seconds: float, most: float = float("inf"), first: int = 0) -> Campaign:
        """Read inputs for so many ``seconds``, and at most ``most``; return this object."""
        end, last = time.monotonic() + seconds, first + most
        while first < last and time.monotonic() < end:
            first = self._generation(first, last, end)
        return self

    def _generation(self, first: int, last: float, end: float) -> int:
        """Read inputs by one child; return the index from which the next goes on."""
        with TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as home, _child(self.kind, self.seed, first, home) as child:
            at: int = READY
            for line in _lines(child):
                at = line["at"]
                if len(line) > 1:
                    self._note(line)
                elif at >= last or (at > READY and time.monotonic() > end):
                    return at
                self.inputs += len(line) == 1 and at != READY
            how = "hang beyond signals" if child.poll() is None else f"the process ended with {child.returncode}"
        if at == READY or (child.returncode or 0) > 0:
            raise RuntimeError(f"{self.kind}: {how}; the fuzzer is at fault, or a valid input is refused")
        self._note({"at": at, "what": how, "where": ""})
        return at + 1

    def _note(self, line: dict[str, Any]) -> None:
        again = f"python tests/attacks.py --again {self.kind!r} {line['at']} --seed {self.seed}"
        self.faults.append({"kind": self.kind, "seed": self.seed, "index": line["at"], **line, "again": again})
        del self.faults[-1]["at"]


@contextmanager
def _child(kind: str, seed: int, first: int, home: str) -> Iterator[subprocess.Popen[bytes]]:
    paths = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fuzzing.child", kind, str(seed), str(first), home],
        env={**os.environ, **threads, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _lines(child: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what the child says, until it ends or is silent for too long."""
    assert child.stdout
    buffer = b""
    while select.select([child.stdout], [], [], SILENT)[0]:
        data = os.read(child.stdout.fileno(), 1 << 16)
        if not data:
            child.wait()
            return
        *lines, buffer = (buffer + data).split(b"\n")
        yield from map(json.loads, lines)


def grouped(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first fault of those that are alike, with how many there are."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for fault in faults:
        key = (fault["kind"], fault["what"].split(":")[0][:60], fault["where"])
        groups.setdefault(key, {**fault, "times": 0})["times"] += 1
    return list(groups.values())
