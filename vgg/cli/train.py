"""``vgg train``."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from .. import api
from ..core.limits import PATH
from ..core.texts import one_line
from ..runs.options import Setup
from .arguments import architecture, changes, environment, given, natural, print_json, replicas
from .arguments import run as run_options

ABOUT, EXAMPLE = "train one network in one backend", "vgg train torch vgg11_narrow --recipe quick --out runs/first"
SETUP = [field.name for field in fields(Setup)]


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg train``."""
    command.add_argument(
        "backend", metavar="BACKEND", nargs="?", help="torch, tensorflow, jax, mxnet or the name of a plug-in"
    )
    architecture(command, optional=True)
    environment(command)
    run_options(command)
    replicas(command)
    command.add_argument("--recipe", metavar="NAME", help="name of a recipe (default: quick)")
    command.add_argument(
        "--resume",
        metavar="RUN",
        help="continue the run in this directory; with BACKEND, in that backend and in the new directory --out",
    )
    command.add_argument(
        "--keep", type=natural, metavar="N", help="number of checkpoints to keep (default: 2; 0: write none)"
    )
    command.add_argument(
        "--every",
        type=natural,
        metavar="STEPS",
        help="also write a checkpoint after every STEPS steps of an epoch (default: 0, only at its end)",
    )
    about = "on a GPU, always add in the same order, so that --resume gives the same bits there too; slower"
    command.add_argument("--deterministic", action="store_true", default=None, help=about)


def run(arguments: Namespace) -> int:
    """Train a new run, or the rest of one, in one backend, and print its results."""
    from ..runs.train import report

    where = {
        name: getattr(arguments, name) for name in ("recipe", "resume", "out", "data", "narrow", "input", "classes")
    }
    more = changes(arguments) | given(arguments, *SETUP)
    prepared = api.prepare(arguments.backend, arguments.arch, **where, **more)
    # A cluster announces the end with SIGTERM. The first process treats it as Ctrl-C, and the others end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler if prepared.first else signal.SIG_IGN)
    if not prepared.first:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    summary = api.carry_out(prepared, progress=not arguments.json)
    if not prepared.first:
        return 0
    page = report(prepared.place)
    if arguments.json:
        print_json({"run": str(prepared.place), **summary})
        return 0
    epoch = f", {summary['epoch_seconds']:.1f} s per epoch" if summary["epoch_seconds"] else ""
    speed = f"{summary['images_per_second']:.0f} images/s{epoch}"
    print(f"{one_line(prepared.place, PATH)}: test accuracy {summary['test_accuracy']:.4f}, {speed}")
    print(f"report: {one_line(page, PATH)}")
    return 0
