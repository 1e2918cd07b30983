"""The command line: parsing, errors and exit statuses. What the commands do is in ``commands``."""

from __future__ import annotations

import argparse
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .errors import BackendError, UnavailableError, VGGError
from .recipe import CHOICES

DONE, FAILED, USAGE = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """argparse with errors in the house form, and the example kept as written."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 a check failed, 2 wrong usage or nothing judged."""
    from . import commands

    arguments = parser().parse_args(argv)
    try:
        return commands.COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt as stop:
        print(f"vgg: {stop or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except VGGError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"vgg: {error}", file=sys.stderr)
        return FAILED if isinstance(error, BackendError) and not isinstance(error, UnavailableError) else USAGE


def parser() -> argparse.ArgumentParser:
    """The parser of ``vgg`` and its commands."""
    root = _Parser(
        prog="vgg", description="One VGG in PyTorch, TensorFlow, JAX and MXNet: built, proven equal, trained, compared."
    )
    root.add_argument("--version", action="version", version=f"vgg {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _command(commands, "list", "architectures and backends, what is installed where", "vgg list")

    show = _command(
        commands, "show", "layer table: shapes, parameters, MACs, memory", "vgg show vgg16 --input 3x224x224"
    )
    _architecture(show)

    check = _command(commands, "check", "the conformance suite", "vgg check torch jax --junit report.xml")
    _backends(check)
    check.add_argument("--junit", metavar="FILE", help="write JUnit XML there")
    check.add_argument("-k", metavar="EXPRESSION", dest="select", help="only the checks that match, as in pytest")
    check.add_argument("--spec", metavar="FILE", help="judge on this spec alone, as a failed property prints it")
    check.add_argument("--known", metavar="FILE", help="TOML file of known failures; see docs/backends.md")
    _replicas(check)
    check.add_argument("--examples", type=_positive, metavar="N", help="random specs that each backend is judged on")
    check.add_argument("--seed", type=_natural, metavar="N", help="draw random specs and lives anew, from this seed")
    check.add_argument("--thorough", action="store_true", help="also the checks that take longer")
    check.add_argument(
        "--jobs", type=_positive, metavar="N", help="backends judged at a time (default: one per core; on a gpu, one)"
    )

    train = _command(
        commands, "train", "one training run", "vgg train torch vgg11_narrow --recipe quick --out runs/first"
    )
    train.add_argument(
        "backend", metavar="BACKEND", nargs="?", help="torch, tensorflow, jax, mxnet or a plug-in's name"
    )
    _architecture(train, optional=True)
    _environment(train)
    _run(train)
    _replicas(train)
    train.add_argument("--recipe", metavar="NAME", help="named recipe (default: quick)")
    train.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this directory; with BACKEND in that one, into --out"
    )
    train.add_argument("--keep", type=_natural, metavar="N", help="checkpoints to hold (default: 2; 0: write none)")
    train.add_argument(
        "--every", type=_natural, metavar="STEPS", help="checkpoint also within epochs (default: 0, at their ends only)"
    )
    about = "on a GPU, add in one order, that --resume gives the same bits there too; slower"
    train.add_argument("--deterministic", action="store_true", default=None, help=about)

    compare = _command(
        commands, "compare", "build, prove equal, train, time and report", "vgg compare torch jax --out runs/both"
    )
    _backends(compare)
    _architecture(compare, flag=True)
    _run(compare)
    compare.add_argument(
        "--recipe", metavar="NAME", help="named recipe (default: quick, or quick-fashion for fashion-mnist)"
    )
    bench = _command(
        commands, "bench", "timings against baselines, in one run", "vgg bench torch jax --workload vgg11_narrow"
    )
    _backends(bench)
    bench.add_argument(
        "--workload", action="append", metavar="NAME", help="vgg11_narrow, vgg16, pipeline or ourselves (default: all)"
    )
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="measurements of each (default: 5)")
    bench.add_argument("--batch-size", type=_positive, metavar="N", help="default: the workload's for the device")
    formats = [name for name in CHOICES["precision"] if name != "float64"]
    bench.add_argument("--precision", choices=formats, default="float32", help="default: float32")
    bench.add_argument("--out", metavar="FILE", help="write the result there (default: a new file under runs/)")
    bench.add_argument("--compare", metavar="OLD", help="exit 1 where ours is slower than in this result")
    return root


def _command(commands: argparse._SubParsersAction[_Parser], name: str, does: str, example: str) -> _Parser:
    command = commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=f"example:\n  {example}"
    )
    command.add_argument("--json", action="store_true", help="print JSON, and only JSON, on standard output")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def _architecture(command: _Parser, *, optional: bool = False, flag: bool = False) -> None:
    about = "name (see vgg list) or JSON/TOML file"
    if flag:
        command.add_argument("--arch", metavar="ARCH", default="vgg11_narrow", help=f"{about}; default: vgg11_narrow")
    else:
        command.add_argument("arch", metavar="ARCH", nargs="?" if optional else None, help=about)
    command.add_argument("--narrow", type=int, metavar="RATIO", help="divide the channels of every convolution")
    command.add_argument("--input", metavar="CxHxW", help="input shape, as in 1x224x224")
    command.add_argument("--classes", type=int, metavar="N", help="width of the logits")


def _backends(command: _Parser) -> None:
    command.add_argument("backends", metavar="BACKEND", nargs="*", help="default: torch tensorflow jax mxnet")
    _environment(command)


def _environment(command: _Parser) -> None:
    command.add_argument(
        "--env", choices=["auto", "current", "uv"], default="auto", help="where backends run (default: auto)"
    )
    command.add_argument(
        "--timeout", type=_seconds, default=900, metavar="SECONDS", help="limit without a sign of life"
    )
    command.add_argument("--device", choices=["cpu", "gpu", "auto"], help="auto: a gpu if there is one (default: cpu)")


def _replicas(command: _Parser) -> None:
    about = "devices that share every batch (default: 1); see docs/replicas.md"
    command.add_argument("--replicas", type=_positive, metavar="N", help=about)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a number of seconds > 0")
    return seconds


def _positive(text: str) -> int:
    return _natural(text, 1)


def _natural(text: str, low: int = 0) -> int:
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number, at least {low}")
    return int(text)


def _run(command: _Parser) -> None:
    command.add_argument("--out", metavar="RUN", help="directory of the run (default: a new one under runs/)")
    command.add_argument("--dataset", metavar="NAME", help="digits, fashion-mnist or synthetic (default: the recipe's)")
    command.add_argument("--data", metavar="DIR", help="folder with the data set's files")
    command.add_argument("--epochs", type=int, metavar="N")
    command.add_argument("--batch-size", type=int, metavar="N")
    command.add_argument("--lr", type=float, metavar="RATE")
    command.add_argument("--seed", type=int, metavar="N")
    command.add_argument("--init-from", metavar="FILE", help="weights, or a run, to start from")
    command.add_argument(
        "--set", action="append", metavar="FIELD=VALUE", help="any field of the recipe, as in --set momentum=0.9"
    )
    command.add_argument("--tensorboard", action="store_true", default=None, help="write event files into the run")
    for name, about in (
        ("dropout", "masks of each framework, or the same for all"),
        ("precision", "of the arithmetic (default: float32)"),
    ):
        command.add_argument(f"--{name}", choices=CHOICES[name], help=about)


if __name__ == "__main__":
    sys.exit(main())
