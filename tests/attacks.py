"""Hostile inputs and random kills, for so many minutes, and a file of what they did.

``python tests/attacks.py --minutes 20 benchmarks/results/attacks.json`` ends with status 1 when anything went wrong.
``python tests/attacks.py --again KIND INDEX --seed S`` makes one hostile input again and shows what reads it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from fuzzing import oracle
from fuzzing.campaign import Campaign, grouped
from fuzzing.judge import bounded
from fuzzing.kinds import KINDS, fuzzer
from killing.chains import Chain
from killing.comparisons import Comparison
from killing.game import Game, Table

from vgg.core.files import check_file, write_atomically
from vgg.process import registry
from vgg.process.provenance import provenance

FUZZED = 0.3
"""The share of the time that goes into inputs."""
SLOW = ("run directory", "messages of a worker")
"""Kinds whose inputs take longer, and get twice the time."""


def main() -> int:
    """Attack, write the result, and return the exit status."""
    arguments = _parsed()
    if arguments.again:
        return again(arguments.again[0], int(arguments.again[1]), arguments.seed)
    check_file("FILE", Path(arguments.file))
    start, seconds = time.monotonic(), 60 * arguments.minutes
    inputs = fuzzed(FUZZED * seconds, arguments.seed)
    with TemporaryDirectory(prefix="attacks-") as home:
        kills = killed(Path(home), (1 - FUZZED) * seconds, arguments.seed, arguments.backends)
    budget = {"minutes": arguments.minutes, "seed": arguments.seed, "seconds": round(time.monotonic() - start)}
    errors = inputs.pop("errors") + kills.pop("errors")
    result = {**provenance(), **budget, "fuzzed": inputs, "killed": kills, "errors": errors}
    write_atomically(Path(arguments.file), json.dumps(result, indent=1).encode())
    sys.stdout.write(f"{sum(inputs['inputs'].values())} inputs, {kills['survived']} kills, {len(errors)} errors\n")
    return int(bool(errors))


def _parsed() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", default=os.devnull, help="file of the result")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    names = ["oracle", *registry.own_names()]
    parser.add_argument("--backends", nargs="+", default=names, choices=names, help="backends to kill")
    parser.add_argument("--again", nargs=2, metavar=("KIND", "INDEX"), help="make this input again and read it")
    return parser.parse_args()


def again(kind: str, index: int, seed: int) -> int:
    """Make one input again, say where it is, and read it."""
    home = Path(mkdtemp(prefix="attack-"))
    folder = home / "input"
    folder.mkdir()
    os.chdir(home)
    fuzz = fuzzer(kind)(home)
    fuzz.make(Random(f"{seed}/{kind}/{index}"), folder)
    sys.stdout.write(f"the input is in {folder}\n")
    with bounded():
        fuzz.read(folder)
    sys.stdout.write("it was read\n")
    return 0


def fuzzed(seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz every kind for its share of the time, one per core at a time."""
    cores = len(os.sched_getaffinity(0))
    share = seconds * cores / (len(KINDS) + len(SLOW))
    with ThreadPoolExecutor(cores) as pool:
        done = list(pool.map(lambda kind: Campaign(kind, seed).run(share * (1 + (kind in SLOW))), KINDS))
    errors = [fault for campaign in done for fault in grouped(campaign.faults)]
    return {"inputs": {campaign.kind: campaign.inputs for campaign in done}, "errors": errors}


def killed(home: Path, seconds: float, seed: int, backends: list[str]) -> dict[str, Any]:
    """Play every game for its share of the time."""
    oracle.announce(home / "plugins")
    games, errors = list[Game](), list[dict[str, Any]]()
    makers = _makers(Table(seed, home, os.environ["PYTHONPATH"]), backends)
    for number, (name, make) in enumerate(makers.items()):
        end = time.monotonic() + seconds / len(makers)
        try:
            games.append(make())
            while time.monotonic() < end or not games[-1].plays:
                games[-1].play()
        except Exception as error:  # noqa: BLE001 - the others go on
            where = {"kind": f"kill of {name}", "seed": seed, "index": games[-1].plays if len(games) > number else 0}
            errors.append({**where, "what": f"could not be judged: {type(error).__name__}: {error}"})
    errors += grouped([error for game in games for error in game.errors])
    survived = sum(sum(game.kills.values()) for game in games)
    table = {game.name: game.table_of_kills() for game in games}
    ended = {game.name: game.ended for game in games}
    return {"survived": survived, "kills": table, "runs_ended_with_the_same_bits": ended, "errors": errors}


def _makers(table: Table, backends: list[str]) -> dict[str, Callable[[], Game]]:
    """Return what makes each game, by name."""
    own = [name for name in backends if name in registry.own_names()]
    makers: dict[str, Callable[[], Game]] = {name: partial(Chain, name, table) for name in backends}
    if "oracle" in backends:
        makers["comparison"] = partial(Comparison, table)
    return makers | {f"{name}, 2 replicas": partial(Chain, name, table, replicas=2) for name in own}


if __name__ == "__main__":
    sys.exit(main())
