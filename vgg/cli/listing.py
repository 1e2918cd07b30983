"""``vgg list``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import print_json

ABOUT, EXAMPLE = "architectures and backends, what is installed where", "vgg list"


def add(command: ArgumentParser) -> None:
    """It has no options of its own."""


def run(arguments: Namespace) -> int:
    """Architectures with their counts, backends with their homes."""
    found = api.catalogue()
    if arguments.json:
        print_json(found)
        return 0
    from ..report import terminal

    terminal.listing(found["architectures"], found["backends"])
    return 0
