"""Mutants against the suite: which check is the first to kill each, and which of them live.

``python tests/mutants.py oracle benchmarks/results/mutants.json`` runs every mutant of the oracle plug-in and of the
oracle's code; ``torch`` those of a real backend, in its environment. With ``--resume`` what the file holds stands; with
``--survivors`` all that does except what lived. ``--sample N --seed S`` runs a few that have no reason to live, each
first against what killed it in the published run. ``prune`` takes the reasons out that FILE no longer needs, and prints
what lives without one.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import signal
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mutating
from mutant_targets import TARGETS, SomeBench, Target
from mutants_table import PUBLISHED
from mutating import SURVIVED, Mutant

from vgg.conformance.cell import Judge
from vgg.core.files import write_atomically
from vgg.process.provenance import provenance

BATCH = 25
SLOWER, SECONDS = 20, 10
"""A cell may take so many times the processor time that it takes of a healthy backend, and so much at least."""
CHEAP = 0.1
"""Seconds: cells are not told apart by less, so that the order is much the same from run to run."""
PATIENCE = 900.0
"""Seconds without a word from a mutant's process."""
MEMORY = 16 << 30
"""Bytes of address space."""
_CONTEXT = multiprocessing.get_context("fork")  # imports, and what the cells keep, are paid once


@dataclass
class Trial:
    """One process judges one mutant, cell by cell, until one kills it."""

    target: Target
    suite: Mapping[str, Judge]
    seconds: Mapping[str, float]
    """Processor time that each cell takes of a healthy backend."""

    def outcome(self, mutant: Mutant, order: list[str]) -> str:
        """``survived``, or how it died and of which cell: ``verdict forward plain float64 eval``.

        ``exception``: the mutant raised one, which any test that runs the line would notice. ``time``: it took far
        longer than a healthy one. ``death``: its process died.
        """
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(target=self._judge, args=(mutant, order, sender))
        process.start()
        sender.close()
        heard = [""]
        while receiver.poll(PATIENCE):
            try:
                heard.append(receiver.recv())
            except EOFError:
                break
        else:
            process.kill()
        process.join()
        slow = process.exitcode in (-signal.SIGPROF, -signal.SIGKILL)
        return heard[-1] if process.exitcode == 0 else f"{'time' if slow else 'death'} {heard[-1]}"

    def _judge(self, mutant: Mutant, order: list[str], told: Connection) -> None:
        """In the process: say which cell comes next, and at last the outcome."""
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        name = "import"
        try:
            with self.target.bench(mutant) as bench:
                for name in order:
                    told.send(name)
                    signal.setitimer(signal.ITIMER_PROF, max(SECONDS, SLOWER * self.seconds.get(name, 0.0)))
                    if how := killing(self.suite[name], bench):
                        told.send(f"{how} {name}")
                        return
        except Exception:  # noqa: BLE001 - a mutant may raise anything when it is imported
            told.send(f"exception {name}")
            return
        told.send(SURVIVED)


def killing(cell: Judge, bench: SomeBench) -> str:
    """How a cell kills: by its ``verdict``, or since the backend raised an ``exception``; nothing where it does not."""
    bench.raised.clear()
    try:
        verdict = cell(bench)
    except Exception as error:  # noqa: BLE001 - what a check stumbles over is a failure
        reason = f"{type(error).__name__}: {error}"
    else:
        reason = verdict.reason
    raised = any(text in reason for text in bench.raised)
    return "exception" if raised else "verdict" if reason else ""


def healthy_seconds(target: Target, suite: Mapping[str, Judge]) -> dict[str, float]:
    """Of each cell, run on the healthy backend, which must pass."""
    seconds = {}
    with target.bench(None) as bench:
        for name, cell in suite.items():
            start = time.perf_counter()
            if how := killing(cell, bench):
                raise SystemExit(f"{name}: the healthy backend fails by {how} {bench.raised}")
            seconds[name] = round(time.perf_counter() - start, 3)
    return seconds


def ordered(mutant: Mutant, suite: Mapping[str, Judge], seconds: Mapping[str, float], killer: str) -> list[str]:
    """The former killer first; of a learner's mutant then what trains; the cheap before the others, else as it was."""
    learns = "Learner" in mutant.function

    def rank(name: str) -> tuple[bool, bool, int]:
        trains = getattr(suite[name], "level", "") == "training"
        return name != killer, learns and not trains, round(seconds.get(name, 0.0) / CHEAP)

    return sorted(suite, key=rank)


def drawn(made: Mapping[str, Mutant], count: int, seed: int) -> dict[str, Mutant]:
    """``count`` of the mutants, less those that have a reason to live."""
    excused = mutating.reasons()
    keys = random.Random(seed).sample(sorted(made), count)
    return {key: made[key] for key in keys if key not in excused}


def run(name: str, path: Path, options: Namespace) -> None:
    """Every mutant that is asked for; after each batch, what is known so far goes into the file."""
    target, published = TARGETS[name], _read(PUBLISHED, name)
    made, suite = {mutant.key: mutant for mutant in target.mutants()}, target.suite()
    if options.sample:
        made, seconds, killers = drawn(made, options.sample, options.seed), published["cells"], published["mutants"]
    else:
        seconds, killers = healthy_seconds(target, suite), {}
    done = {key: was for key, was in _read(path, name)["mutants"].items() if key in made and _stands(was, options)}
    trial, left, made_by = Trial(target, suite, seconds), [key for key in made if key not in done], provenance()
    for first in range(0, max(1, len(left)), BATCH):  # at least once, since mutants may have gone
        for key in left[first : first + BATCH]:
            order = ordered(made[key], suite, seconds, killers.get(key, "").partition(" ")[2])
            done[key] = trial.outcome(made[key], order)
            sys.stderr.write(f"{done[key]}: {key}\n")
        outcomes = {key: done[key] for key in made if key in done}
        result = {**made_by, "tool": mutating.TOOL, "cells": seconds, "mutants": outcomes}
        write_atomically(path, json.dumps({**_json(path), name: result}, indent=1).encode() + b"\n")


def _stands(outcome: str, options: Namespace) -> bool:
    return bool(options.resume or (options.survivors and outcome != SURVIVED))


def _read(path: Path, name: str) -> dict[str, Any]:
    return dict(_json(path).get(name, {"cells": {}, "mutants": {}}))


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def main() -> None:
    """Run mutants."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=[*TARGETS, "prune"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--sample", type=int, metavar="N", help="run N mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="keep what FILE holds")
    parser.add_argument("--survivors", action="store_true", help="keep what FILE holds, except what lived")
    options = parser.parse_args()
    if options.target == "prune":
        outcomes = {key: outcome for run in _json(options.file).values() for key, outcome in run["mutants"].items()}
        sys.exit("\n".join(mutating.prune(outcomes)) or None)
    warnings.simplefilter("ignore")  # a mutant may well divide by zero
    with TARGETS[options.target].ready():
        run(options.target, options.file, options)


if __name__ == "__main__":
    main()
