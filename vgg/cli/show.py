"""``vgg show``."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace

from .. import api
from ..core.layers import expand, totals
from ..runs.options import spec_of
from .arguments import architecture, print_json

ABOUT, EXAMPLE = "show the layer table: shapes, parameters, MACs, memory", "vgg show vgg16 --input 3x224x224"


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg show``."""
    architecture(command)


def run(arguments: Namespace) -> int:
    """Show the layer table of one architecture."""
    changed = {"narrow": arguments.narrow, "classes": arguments.classes}
    if not arguments.json:
        api.show(arguments.arch, input=arguments.input, **changed)
        return 0
    table = expand(spec_of(arguments.arch, input_shape=arguments.input, **changed))
    names = ("name", "kind", "output_shape", "params", "macs")
    rows = [{name: getattr(row, name) for name in names} for row in table]
    print_json({**dataclasses.asdict(totals(table)), "layers": rows})
    return 0
