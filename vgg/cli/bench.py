"""``vgg bench``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from .. import api
from ..core.limits import PATH
from ..core.recipe import CHOICES
from ..core.texts import one_line
from .arguments import backends, given, positive, print_json

ABOUT, EXAMPLE = "time backends against their baselines, in one run", "vgg bench torch jax --workload vgg11_narrow"


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg bench``."""
    backends(command)
    command.add_argument(
        "--workload",
        action="append",
        metavar="NAME",
        help="vgg11_narrow, vgg16 or pipeline; may be repeated (default: all)",
    )
    command.add_argument(
        "--rounds", type=positive, default=5, metavar="N", help="number of measurements of each (default: 5)"
    )
    command.add_argument(
        "--batch-size", type=positive, metavar="N", help="images per batch (default: the workload's for the device)"
    )
    formats = [name for name in CHOICES["precision"] if name != "float64"]
    command.add_argument("--precision", choices=formats, default="float32", help="number format (default: float32)")
    command.add_argument(
        "--out", metavar="FILE", help="write the result to this file (default: a new file under runs/)"
    )
    command.add_argument("--html", metavar="FILE", help="write a page of the results to this file")
    command.add_argument(
        "--compare", metavar="OLD", help="exit with status 1 if a backend is slower than in the result OLD"
    )


def run(arguments: Namespace) -> int:
    """Time backends against their baselines, and with ``--compare`` against an earlier result; return the status."""
    from ..report import terminal, timings

    options = ("workload", "rounds", "batch_size", "precision", "device", "env", "timeout", "out", "compare", "html")
    measured = api.bench(arguments.backends or None, **given(arguments, *options), progress=not arguments.json)
    if arguments.json:
        print_json(measured.to_dict())
    else:
        terminal.timings(timings.tables(measured.result))
        print(f"result: {one_line(measured.path, PATH)}")
    for line in measured.complaints:
        print(one_line(line, PATH), file=sys.stderr)
    return int(not measured.ok)
