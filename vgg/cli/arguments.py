"""Options that several commands share, and functions that read their values."""

from __future__ import annotations

import argparse
import json
import math
import re
from argparse import ArgumentParser, Namespace
from typing import Any

from ..core import limits
from ..core.documents import toml_fragment
from ..core.errors import VGGError, mismatch, unknown
from ..core.recipe import CHOICES
from ..core.texts import shown
from ..runs.options import CHANGEABLE, DEVICES, ENVS


def architecture(command: ArgumentParser, *, optional: bool = False, flag: bool = False) -> None:
    """Add ARCH, or the option ``--arch`` if ``flag``, and the options that change the architecture."""
    about = "name (see vgg list) or JSON/TOML file"
    if flag:
        command.add_argument("--arch", metavar="ARCH", default="vgg11_narrow", help=f"{about}; default: vgg11_narrow")
    else:
        command.add_argument("arch", metavar="ARCH", nargs="?" if optional else None, help=about)
    command.add_argument(
        "--narrow", type=whole, metavar="RATIO", help="divide the channels of every convolution by RATIO"
    )
    command.add_argument("--input", metavar="CxHxW", help="shape of the input, for example 1x224x224")
    command.add_argument("--classes", type=whole, metavar="N", help="number of classes, the width of the logits")


def backends(command: ArgumentParser) -> None:
    """Add BACKEND, any number of names, and the options that say where backends run."""
    command.add_argument(
        "backends", metavar="BACKEND", nargs="*", help="names of backends (default: torch tensorflow jax mxnet)"
    )
    environment(command)


def environment(command: ArgumentParser) -> None:
    """Add the options that say where backends run."""
    command.add_argument(
        "--env",
        choices=ENVS,
        default="auto",
        help="current: this Python; uv: an environment that uv builds; auto: current if it has the framework, else uv "
        "(default: auto)",
    )
    command.add_argument(
        "--timeout",
        type=seconds,
        default=900,
        metavar="SECONDS",
        help="end a backend that gives no sign of life for so long (default: 900)",
    )
    command.add_argument("--device", choices=DEVICES, help="auto means a gpu if there is one (default: cpu)")


def replicas(command: ArgumentParser) -> None:
    """Add the option for data-parallel training."""
    about = "number of devices that share every batch (default: 1); see docs/replicas.md"
    command.add_argument("--replicas", type=positive, metavar="N", help=about)


def plan(command: ArgumentParser) -> None:
    """Add the options that change a recipe and that a script can follow too."""
    command.add_argument("--dataset", metavar="NAME", help="digits, fashion-mnist or synthetic (default: the recipe's)")
    command.add_argument("--epochs", type=whole, metavar="N", help="number of epochs (default: the recipe's)")
    command.add_argument("--batch-size", type=whole, metavar="N", help="images per step (default: the recipe's)")
    command.add_argument("--lr", type=real, metavar="RATE", help="learning rate (default: the recipe's)")
    command.add_argument("--seed", type=whole, metavar="N", help="seed of all random numbers (default: the recipe's)")
    command.add_argument(
        "--set",
        action="append",
        metavar="FIELD=VALUE",
        help="change any field of the recipe, for example --set momentum=0.9",
    )


def run(command: ArgumentParser) -> None:
    """Add the options of a training run: its data, its recipe and its directory."""
    command.add_argument("--out", metavar="RUN", help="directory of the run (default: a new one under runs/)")
    command.add_argument("--data", metavar="DIR", help="folder with the dataset's files")
    plan(command)
    command.add_argument("--init-from", metavar="FILE", help="file of weights, or directory of a run, to start from")
    command.add_argument(
        "--tensorboard", action="store_true", default=None, help="write TensorBoard event files into the run"
    )
    for name, about in (
        ("dropout", "masks that each framework draws (native), or the same masks in all (neutral)"),
        ("precision", "number format of the arithmetic (default: float32)"),
    ):
        command.add_argument(f"--{name}", choices=CHOICES[name], help=about)


def given(arguments: Namespace, *names: str) -> dict[str, Any]:
    """Return those of the options ``names`` that the command line sets, by name."""
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def changes(arguments: Namespace) -> dict[str, Any]:
    """Return the fields of the recipe that flags or ``--set`` change, by name.

    Raises ``VGGError`` when ``--set`` is not FIELD=VALUE, names no field, or names one that is set already.
    """
    flags = given(arguments, *CHANGEABLE)
    values = dict(flags)
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals or len(text) > limits.VALUE or text.splitlines() != [text]:
            raise mismatch("--set", shown(text), "FIELD=VALUE on one line", "for example --set momentum=0.9")
        if name not in CHANGEABLE:
            raise unknown("field of a recipe", name, CHANGEABLE)
        if name in values:
            other = f"--{name.replace('_', '-')}" if name in flags else "another --set"
            raise mismatch("--set", f"{name}, which {other} sets too", "one of them")
        values[name] = toml_fragment(value)
    return values


def print_json(value: Any) -> None:
    """Print ``value`` as one line of JSON on standard output. Raises ``VGGError`` when JSON cannot express it."""
    try:
        print(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise VGGError(f"result is not JSON ({error})") from error


def seconds(text: str) -> float:
    """Read a time limit in seconds, greater than 0."""
    try:
        number = real(text)
    except argparse.ArgumentTypeError:
        number = math.nan
    if not number > 0:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a number of seconds > 0")
    return number


def positive(text: str) -> int:
    """Read a whole number that is at least 1."""
    return natural(text, 1)


def natural(text: str, low: int = 0) -> int:
    """Read a whole number from ``low`` to ``limits.COUNT``."""
    number = _digits(text)
    if number is None or not low <= number <= limits.COUNT:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number from {low} to {limits.COUNT}")
    return number


def whole(text: str) -> int:
    """Read a whole number."""
    number = _digits(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number")
    return number


def real(text: str) -> float:
    """Read a number: ASCII digits, without the underscores that Python allows between them."""
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a number") from None


def _digits(text: str) -> int | None:
    return int(text) if re.fullmatch(rf"[+-]?[0-9]{{1,{limits.DIGITS}}}", text) else None
