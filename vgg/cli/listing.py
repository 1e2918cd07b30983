"""``vgg list``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import print_json

ABOUT, EXAMPLE = "list the architectures, and the backends with where they run", "vgg list"


def add(command: ArgumentParser) -> None:
    """Add nothing: ``vgg list`` has no options of its own."""


def run(arguments: Namespace) -> int:
    """List architectures with their parameters and MACs, and backends with where they run."""
    catalogue = api.catalogue()
    if arguments.json:
        print_json(catalogue)
        return 0
    from ..report import terminal

    terminal.listing(catalogue["architectures"], catalogue["backends"])
    return 0
