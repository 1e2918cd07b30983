"""``vgg compare``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import architecture, backends, changes, given, print_json
from .arguments import run as run_options

ABOUT, EXAMPLE = "build, prove equal, train, time and report", "vgg compare torch jax --out runs/both"


def add(command: ArgumentParser) -> None:
    """Its options."""
    backends(command)
    architecture(command, flag=True)
    run_options(command)
    command.add_argument(
        "--recipe", metavar="NAME", help="named recipe (default: quick, or quick-fashion for fashion-mnist)"
    )


def run(arguments: Namespace) -> int:
    """The main job."""
    from ..report import terminal

    where = given(arguments, "recipe", "out", "data", "narrow", "input", "classes")
    more = changes(arguments) | given(arguments, "device", "env", "timeout", "tensorboard")
    found = api.compare(arguments.backends, arguments.arch, **where, **more, progress=not arguments.json)
    if arguments.json:
        print_json(found.to_dict())
    else:
        terminal.comparison(found.result)
        print(f"report: {found.report}")
    return int(not found.ok)
