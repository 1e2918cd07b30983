"""``vgg bench``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from .. import api
from ..core.recipe import CHOICES
from .arguments import backends, given, positive, print_json

ABOUT, EXAMPLE = "timings against baselines, in one run", "vgg bench torch jax --workload vgg11_narrow"


def add(command: ArgumentParser) -> None:
    """Its options."""
    backends(command)
    command.add_argument(
        "--workload", action="append", metavar="NAME", help="vgg11_narrow, vgg16 or pipeline (default: all)"
    )
    command.add_argument("--rounds", type=positive, default=5, metavar="N", help="measurements of each (default: 5)")
    command.add_argument("--batch-size", type=positive, metavar="N", help="default: the workload's for the device")
    formats = [name for name in CHOICES["precision"] if name != "float64"]
    command.add_argument("--precision", choices=formats, default="float32", help="default: float32")
    command.add_argument("--out", metavar="FILE", help="write the result there (default: a new file under runs/)")
    command.add_argument("--compare", metavar="OLD", help="exit 1 where ours is slower than in this result")


def run(arguments: Namespace) -> int:
    """Timings against baselines; with ``--compare`` against an earlier result."""
    from ..report import terminal, timings

    options = ("workload", "rounds", "batch_size", "precision", "device", "env", "timeout", "out", "compare")
    found = api.bench(arguments.backends, **given(arguments, *options), progress=not arguments.json)
    if arguments.json:
        print_json(found.to_dict())
    else:
        terminal.timings(timings.tables(found.result))
        print(f"result: {found.path}")
    for line in found.complaints:
        print(line, file=sys.stderr)
    return int(not found.ok)
