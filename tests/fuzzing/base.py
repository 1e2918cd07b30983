"""What a fuzzer is, and how it runs a command within its own process."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

from vgg import VGGError, cli

FOREIGN = "notes of the user.txt"
STATUSES = (0, 1, 2)
_FRAME = re.compile(r'File "[^"]*/(vgg/[^"]+)", line \d+, in (\S+)')


class UnsoundError(Exception):
    """The program broke a promise without raising a wrong exception."""


class Fuzzer(ABC):
    """A kind of input. ``home`` is a folder for what is made once, such as valid inputs."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @abstractmethod
    def plain(self, folder: Path) -> bool:
        """Write a valid input into the empty ``folder``, which must be read without an error.

        Return False where there is none at hand.
        """

    @abstractmethod
    def make(self, random: Random, folder: Path) -> None:
        """Write one hostile input into the empty ``folder``."""

    @abstractmethod
    def read(self, folder: Path) -> None:
        """Let the program read what ``make`` wrote. Raises ``UnsoundError`` for a wrong result."""

    def owns(self, path: str) -> bool:
        """Return whether the program made the file at ``path``, relative to the folder, so that it may change it."""
        return False


def command(*argv: str) -> None:
    """Run ``vgg`` with these arguments. Raises ``VGGError`` with what it printed when it fails as it may."""
    status, said = _run(*argv)
    if status not in STATUSES:
        raise UnsoundError(f"exit status {status}: {_reason(_run(*argv, '--debug')[1])}")
    if status:
        raise VGGError(said.removeprefix("vgg: "))


def printed(error: VGGError) -> str:
    """Return what a command prints that ends with this error."""
    from vgg.cli import listing

    def fail(_: object) -> int:
        raise error

    run, listing.run = listing.run, fail  # type: ignore[assignment]
    try:
        return _run("list")[1]
    finally:
        listing.run = run


def _run(*argv: str) -> tuple[int, str]:
    """Return (exit status, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = cli.main(argv)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
    return status, err.getvalue().strip()


def _reason(traceback: str) -> str:
    frames = _FRAME.findall(traceback)
    where = " in ".join(reversed(frames[-1])) if frames else "an unknown place"
    return f"{traceback.splitlines()[-1][:200] if traceback else 'nothing said'} from {where}"
