"""The parser of ``vgg`` and its commands."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from .. import __version__
from . import bench, check, compare, listing, show, source, train

USAGE = 2
COMMANDS: dict[str, Any] = {
    "list": listing,
    "show": show,
    "check": check,
    "train": train,
    "compare": compare,
    "bench": bench,
    "code": source,
}
"""Each command has the texts ``ABOUT`` and ``EXAMPLE``, ``add(command)``, which adds its options, and
``run(arguments)``, which returns the exit status.
"""


class _Parser(argparse.ArgumentParser):
    """argparse with errors on one line, and with the example in the help as it is written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``vgg`` with all its commands."""
    root = _Parser(
        prog="vgg", description="One VGG in PyTorch, TensorFlow, JAX and MXNet: built, proven equal, trained, compared."
    )
    root.add_argument("--version", action="version", version=f"vgg {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        about = f"{module.ABOUT[0].upper()}{module.ABOUT[1:]}."
        command = commands.add_parser(
            name, help=module.ABOUT, description=about, epilog=f"example:\n  {module.EXAMPLE}"
        )
        command.add_argument("--json", action="store_true", help="print JSON, and only JSON, on standard output")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        module.add(command)
    return root
