"""``vgg check``."""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser, Namespace

from .. import api
from .arguments import backends, given, natural, positive, print_json, replicas

ABOUT, EXAMPLE = "the conformance suite", "vgg check torch jax --junit report.xml"
OPTIONS = ("select", "spec", "known", "junit", "examples", "seed", "thorough", "jobs", "device", "replicas", "env")


def add(command: ArgumentParser) -> None:
    """Its options."""
    backends(command)
    command.add_argument("--junit", metavar="FILE", help="write JUnit XML there")
    command.add_argument("-k", metavar="EXPRESSION", dest="select", help="only the checks that match, as in pytest")
    command.add_argument("--spec", metavar="FILE", help="judge on this spec alone, as a failed property prints it")
    command.add_argument("--known", metavar="FILE", help="TOML file of known failures; see docs/backends.md")
    replicas(command)
    command.add_argument("--examples", type=positive, metavar="N", help="random specs that each backend is judged on")
    command.add_argument("--seed", type=natural, metavar="N", help="draw random specs and lives anew, from this seed")
    command.add_argument("--thorough", action="store_true", help="also the checks that take longer")
    command.add_argument(
        "--jobs", type=positive, metavar="N", help="backends judged at a time (default: one per core; on a gpu, one)"
    )


def run(arguments: Namespace) -> int:
    """The conformance suite, in one pytest session; the last lines say how much of it was judged."""
    from ..core import files

    if arguments.json:
        files.check_standard_output()
    try:
        with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
            found = api.check(arguments.backends, timeout=arguments.timeout, **given(arguments, *OPTIONS))
        if arguments.json and found.result:
            print_json(found.to_dict())
    except BrokenPipeError:  # whoever has stopped reading must not take that for a success
        sys.stderr.close()
        return 1
    if found.reason:
        print(f"vgg: {found.reason}", file=sys.stderr)
    return found.status
