"""``vgg show``."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace

from .. import api
from ..core.block_table import block_table
from ..core.layers import expand, totals
from ..runs.options import spec_of
from .arguments import architecture, print_json

ABOUT, EXAMPLE = "show the layer table: shapes, parameters, MACs, memory", "vgg show vgg16 --input 3x224x224"


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg show``."""
    architecture(command)
    command.add_argument("--blocks", action="store_true", help="one row per block, and one for the dense layers")


def run(arguments: Namespace) -> int:
    """Show the layer table of one architecture."""
    changed = {"narrow": arguments.narrow, "classes": arguments.classes}
    if not arguments.json:
        api.show(arguments.arch, input=arguments.input, blocks=arguments.blocks, **changed)
        return 0
    spec = spec_of(arguments.arch, input_shape=arguments.input, **changed)
    table = expand(spec)
    names = ("name", "kind", "output_shape", "params", "macs")
    rows = [{name: getattr(row, name) for name in names} for row in table]
    blocks = {"blocks": list(map(dataclasses.asdict, block_table(spec)))} if arguments.blocks else {}
    print_json({**dataclasses.asdict(totals(table)), "layers": rows, **blocks})
    return 0
