"""``vgg compare``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from ..core.limits import PATH
from ..core.texts import one_line
from .arguments import architecture, backends, changes, given, print_json, whole
from .arguments import run as run_options

ABOUT, EXAMPLE = (
    "build one network in several backends, prove it equal, train, time and report",
    "vgg compare torch jax --out runs/both",
)


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg compare``."""
    backends(command)
    architecture(command, flag=True)
    run_options(command)
    command.add_argument(
        "--seeds", type=whole, metavar="N", help="train every backend N times, with N seeds (default: 1)"
    )
    about = "go on with the interrupted comparison in this directory; with --seeds, also add seeds to a finished one"
    command.add_argument("--resume", metavar="RUN", help=about)
    command.set_defaults(arch=None, env=None, timeout=None)  # so that --resume can refuse them
    command.add_argument(
        "--recipe", metavar="NAME", help="name of a recipe (default: quick, or quick-fashion for fashion-mnist)"
    )


def run(arguments: Namespace) -> int:
    """Compare backends, print the table, and return the status: 1 unless all are the same network."""
    from ..report import terminal

    where = given(arguments, "seeds", "resume", "recipe", "out", "data", "narrow", "input", "classes")
    more = changes(arguments) | given(arguments, "device", "env", "timeout", "tensorboard")
    comparison = api.compare(arguments.backends or None, arguments.arch, **where, **more, progress=not arguments.json)
    if arguments.json:
        print_json(comparison.to_dict())
    else:
        terminal.comparison(comparison.result)
        print(f"report: {one_line(comparison.report, PATH)}")
    return int(not comparison.ok)
