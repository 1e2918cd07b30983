"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
import dataclasses
import json
import threading
import tomllib
from argparse import ArgumentParser, Namespace
from typing import Any

from ..core.errors import VGGError, mismatch, unknown
from ..core.recipe import CHOICES, Recipe


def architecture(command: ArgumentParser, *, optional: bool = False, flag: bool = False) -> None:
    """ARCH, or ``--arch``, and what changes it."""
    about = "name (see vgg list) or JSON/TOML file"
    if flag:
        command.add_argument("--arch", metavar="ARCH", default="vgg11_narrow", help=f"{about}; default: vgg11_narrow")
    else:
        command.add_argument("arch", metavar="ARCH", nargs="?" if optional else None, help=about)
    command.add_argument("--narrow", type=int, metavar="RATIO", help="divide the channels of every convolution")
    command.add_argument("--input", metavar="CxHxW", help="input shape, as in 1x224x224")
    command.add_argument("--classes", type=int, metavar="N", help="width of the logits")


def backends(command: ArgumentParser) -> None:
    """Backends by name, and where they run."""
    command.add_argument("backends", metavar="BACKEND", nargs="*", help="default: torch tensorflow jax mxnet")
    environment(command)


def environment(command: ArgumentParser) -> None:
    """Where backends run."""
    command.add_argument(
        "--env", choices=["auto", "current", "uv"], default="auto", help="where backends run (default: auto)"
    )
    command.add_argument("--timeout", type=seconds, default=900, metavar="SECONDS", help="limit without a sign of life")
    command.add_argument("--device", choices=["cpu", "gpu", "auto"], help="auto: a gpu if there is one (default: cpu)")


def replicas(command: ArgumentParser) -> None:
    """Data-parallel training."""
    about = "devices that share every batch (default: 1); see docs/replicas.md"
    command.add_argument("--replicas", type=positive, metavar="N", help=about)


def run(command: ArgumentParser) -> None:
    """What is trained, on what, into which directory."""
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


def given(arguments: Namespace, *names: str) -> dict[str, Any]:
    """Those options that the command line names."""
    values = {name: getattr(arguments, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def changes(arguments: Namespace) -> dict[str, Any]:
    """The recipe's fields that flags or ``--set`` name."""
    fields = [field.name for field in dataclasses.fields(Recipe)]
    named = given(arguments, *(name for name in fields if name != "name"))
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise mismatch("--set", repr(text), "FIELD=VALUE", "as in --set momentum=0.9")
        if name not in fields:
            raise unknown("field of a recipe", name, fields)
        named[name] = _value(value)
    return named


def print_json(value: Any) -> None:
    """One line of JSON on standard output."""
    try:
        print(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise VGGError(f"result is not JSON ({error})") from error


def seconds(text: str) -> float:
    """A time limit."""
    number = float(text)
    if not 0 < number < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a number of seconds > 0")
    return number


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return natural(text, 1)


def natural(text: str, low: int = 0) -> int:
    """A whole number from ``low`` on."""
    if not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"got {text}, wanted a whole number, at least {low}")
    return int(text)


def _value(text: str) -> Any:
    """As in TOML; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
