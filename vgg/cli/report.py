"""``vgg report``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .. import api
from ..core.limits import PATH
from ..core.texts import one_line
from .arguments import print_json

ABOUT, EXAMPLE = (
    "put runs and results into one HTML page",
    "vgg report runs/here runs/there bench.json --out page.html",
)


def add(command: ArgumentParser) -> None:
    """Add the options of ``vgg report``."""
    about = "directory of vgg train or vgg compare, or a JSON file of vgg bench or of vgg check --json"
    command.add_argument("runs", metavar="RUN", nargs="+", help=about)
    command.add_argument("--out", metavar="FILE", default="report.html", help="file of the page (default: report.html)")


def run(arguments: Namespace) -> int:
    """Write the page and print its path."""
    page = api.report(arguments.runs, out=arguments.out)
    if arguments.json:
        print_json({"report": str(page)})
    else:
        print(f"report: {one_line(page, PATH)}")
    return 0
