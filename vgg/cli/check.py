"""``vgg check``."""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import backends, given, natural, positive, print_json, replicas

ABOUT, EXAMPLE = "run the conformance suite on backends", "vgg check torch jax --junit report.xml"
OPTIONS = ("select", "spec", "known", "junit", "examples", "seed", "thorough", "jobs", "device", "replicas", "env")


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg check``."""
    backends(command)
    command.add_argument("--junit", metavar="FILE", help="write JUnit XML to this file")
    command.add_argument("--html", metavar="FILE", help="write a page of the results to this file")
    command.add_argument("-k", metavar="EXPRESSION", dest="select", help="run only the checks that match, as in pytest")
    command.add_argument("--spec", metavar="FILE", help="judge on the spec in FILE alone; a failed property prints one")
    command.add_argument("--known", metavar="FILE", help="TOML file of known failures; see docs/backends.md")
    replicas(command)
    command.add_argument(
        "--examples", type=positive, metavar="N", help="number of random specs that each backend is judged on"
    )
    command.add_argument("--seed", type=natural, metavar="N", help="draw other random specs and lives, from this seed")
    command.add_argument("--thorough", action="store_true", help="also run the checks that take longer")
    command.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="number of backends judged at the same time (default: one per core; on a gpu, one)",
    )


def run(arguments: Namespace) -> int:
    """Run the conformance suite in one pytest session and return the status.

    The last lines that it prints say how much of the suite was judged.
    """
    from ..core import files, systems
    from ..core.texts import one_line

    systems.check_posix("vgg check")
    from ..conformance.run import INTERRUPTED

    if arguments.json:
        files.check_standard_output()
    with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        outcome = api.check(arguments.backends or None, timeout=arguments.timeout, **given(arguments, *OPTIONS, "html"))
    if arguments.json and outcome.result:
        print_json(outcome.to_dict())
    if outcome.status == INTERRUPTED:  # pytest has caught it
        raise KeyboardInterrupt
    if outcome.reason:
        print(f"vgg: {one_line(outcome.reason)}", file=sys.stderr)
    return outcome.status
