"""``vgg code``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import architecture, changes, plan, print_json

ABOUT = "print a network as plain source in one framework, with no vgg in it"
EXAMPLE = "vgg code torch vgg16 --input 3x224x224 --classes 10 > vgg16.py"


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg code``."""
    command.add_argument("backend", metavar="BACKEND", help="torch, tensorflow, jax, mxnet or the name of a plug-in")
    architecture(command)
    command.add_argument("--weights", metavar="FILE", help="add the lines that load this file of canonical weights")
    command.add_argument("--train", action="store_true", help="add data, loss and a training loop; run it with FOLDER")
    command.add_argument("--recipe", metavar="NAME", help="with --train: name of a recipe (default: quick-fashion)")
    plan(command)


def run(arguments: Namespace) -> int:
    """Print the script."""
    names = ("backend", "arch", "train", "weights", "recipe", "narrow", "input", "classes")
    text = api.code(**{name: getattr(arguments, name) for name in names}, **changes(arguments))
    if arguments.json:
        print_json({"backend": arguments.backend, "architecture": arguments.arch, "code": text})
    else:
        print(text, end="")
    return 0
