"""The parser of ``vgg`` and its commands."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from .. import __version__
from ..core.texts import one_line
from . import bench, check, compare, env, listing, report, show, source, train

USAGE = 2
COMMANDS: dict[str, Any] = {
    "list": listing,
    "show": show,
    "check": check,
    "train": train,
    "compare": compare,
    "bench": bench,
    "report": report,
    "code": source,
    "env": env,
}
"""Each command has the texts ``ABOUT`` and ``EXAMPLE``, ``add(command)``, which adds its options, and
``run(arguments)``, which returns the exit status.
"""


class _Once(argparse.Action):
    """Store the value of an option that may be there once: the second of two would win in silence."""

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        seen = vars(namespace).setdefault("options", set())
        if option and self.dest in seen:
            raise argparse.ArgumentError(self, "got it twice, wanted it once")
        seen.add(self.dest)
        setattr(namespace, self.dest, _one(self, values) if option else values)


class _Each(argparse.Action):
    """Add the value of an option that may be there several times to those before it."""

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), _one(self, values)])


def _one(option: argparse.Action, value: Any) -> Any:
    """Return the value of an option; argparse makes an empty list of ``--option=--``."""
    if isinstance(value, list):
        raise argparse.ArgumentError(option, "got --, wanted a value")
    return value


class _Parser(argparse.ArgumentParser):
    """argparse with errors on one line, with options once each, and with the example in the help as it is written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        for name, action in ((None, _Once), ("store", _Once), ("append", _Each)):
            self.register("action", name, action)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


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
