"""``vgg env``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..core import systems
from ..process import environments
from ..report.rows import size
from .arguments import print_json

ABOUT, EXAMPLE = "list, rebuild or remove the environments of backends", "vgg env --rebuild torch"


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg env``."""
    actions = command.add_mutually_exclusive_group()
    actions.add_argument("--rebuild", metavar="NAME", help="build the environment NAME again, from fresh packages")
    actions.add_argument("--remove", metavar="NAME", help="remove the environment NAME, and say how much space it took")


def run(arguments: Namespace) -> int:
    """List the environments, or rebuild or remove one."""
    systems.check_posix("vgg env")
    if arguments.rebuild is not None:
        return _changed(arguments, "rebuilt", arguments.rebuild, environments.rebuild(arguments.rebuild))
    if arguments.remove is not None:
        return _changed(arguments, "removed", arguments.remove, environments.remove(arguments.remove))
    rows = environments.listing()
    if arguments.json:
        print_json({"environments": rows})
        return 0
    from ..report import terminal

    terminal.environments(rows)
    return 0


def _changed(arguments: Namespace, what: str, name: str, count: int) -> int:
    if arguments.json:
        print_json({what: name, "bytes": count})
    else:
        print(f"{name}: {what}, {size(count)} {'on the disk' if what == 'rebuilt' else 'freed'}")
    return 0
