"""Nonsense as the value of every option of every command: one line and a known exit status, never a traceback."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import math
import os
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vgg
from vgg import Block, Conv, Head, Pool, Recipe, Spec, VGGError
from vgg.cli import main
from vgg.cli.parser import parser
from vgg.conformance import run as suite
from vgg.core.errors import BackendError
from vgg.core.recipe import FIELDS, recipe
from vgg.core.spec import CHANGES
from vgg.process import client, registry
from vgg.process.registry import Entry
from vgg.runs import compare as comparison
from vgg.runs.options import Setup
from vgg.timing import run as timing

LONGEST = 3000
"""More characters than any answer may have on standard error."""
NUMBERS = [
    "-1",
    "0",
    "1e999",
    "nan",
    "-inf",
    "0x10",
    "1_000",
    "1.5",
    "³",
    "٣",
    "½",
    "9" * 30,
    "9" * 5000,
    "-" + "9" * 5000,
]
TEXTS = ["", " ", "-", "--", "=", "x", "true", "null", "%s {0}", "🙂", "é" * 300, "x" * 100_000, "0." + "1" * 5000]
CONTROLS = ["\x1b[31mred", "\x1b]0;title\x07", "a\nb", "a\rb", "a\0b", "\udc80", "\u202eabc"]
MARKUP = ["[/x]", "[bold]", "<b>&amp;</b>", '"', "'", "[" * 5000, "{" * 5000]
PATHS = ["../../x", "/", ".", "~", "~nobody-has-this-name/x", "pipe", "x" * 300, "x/" * 3000]
SHAPES = ["1x2x3", "3x224x224", "224x224x3", "0x0x0", "-1x8x8", "1x8x8x8", "9" * 40 + "x1x1"]
WORDS = NUMBERS + TEXTS + CONTROLS + MARKUP + PATHS + SHAPES
WRITERS = {"--out", "--junit"}
"""Options that name what is written. No test lets them name a device of the machine that it runs on."""
DEVICES = ["/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem"]
SETTINGS = [
    *("lr=0.01\nmomentum=0.9", "lr=", "lr", "=1", "lr=nan", "lr=1e999", "lr=" + "9" * 5000, "lr=0x" + "f" * 5000),
    *("epochs=" + "9" * 25, "epochs=1e3", "epochs=[1]", "lr_drops=[[1]]", "lr_drops=[[0, 1e400]]", "lr_drops=5"),
    *("plateau=[1, 2, 3]", "plateau=[0.1, 1]", "momentum=" + "[" * 2000, "name=\x1b[31m", "name='\\ud800'", "name=5"),
    *("init=nobody", "init_from=/dev/zero", "init_from=~", "init_from=", "dataset=[]", "dataset=5", "flip=maybe"),
    *("crop=0", "size=" + "9" * 20, "size=0", "size=7", "validation=2", "std=0", "seed=-1", "seed=1e5", "a.b.c=1"),
    *("precision=int8", "lr=0.1 # momentum=0.9", "x" * 20_000 + "=1"),
]
ROOT = parser()
COMMANDS: dict[str, argparse.ArgumentParser] = next(
    action.choices for action in ROOT._actions if isinstance(action, argparse._SubParsersAction)
)
START = {"show": ["tiny.json"], "train": ["torch", "tiny.json"], "compare": ["torch", "--epochs=1"]}
"""What a command needs besides the option that is tried."""


def options(command: str) -> list[str]:
    """Return every option of a command that takes a value, and "" for what is no option."""
    actions = COMMANDS[command]._actions
    return ["", *(a.option_strings[-1] for a in actions if a.option_strings and a.nargs != 0)]


CASES = [(command, option) for command in COMMANDS for option in options(command)]


@pytest.fixture(autouse=True)
def no_frameworks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command gets as far as a framework; the folder is a new one, which holds a pipe and a spec."""

    def no_worker(*_: object, **__: object) -> None:
        raise BackendError("torch: there are no frameworks in this test")

    monkeypatch.setattr(client.Worker, "__init__", no_worker)
    monkeypatch.setattr(comparison, "compare", no_worker)
    monkeypatch.setattr(timing, "run", no_worker)
    monkeypatch.setattr(suite, "run", no_worker)
    monkeypatch.setattr(registry, "_OWN", {"torch": Entry("torch", "vgg_torch")})
    (tmp_path / "three" / "folders" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "three" / "folders" / "down")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    head = {"hidden": [8], "dropout": 0.5}
    Path("tiny.json").write_text(
        json.dumps({"input_shape": [1, 8, 8], "classes": 10, "blocks": [[1, 4]], "head": head})
    )
    os.mkfifo("pipe")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status and the standard error of a command, which are as its contract has them."""
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert status in {0, 1, 2, 130}, (arguments, err)
    assert "Traceback" not in err, arguments
    assert len(err) < LONGEST, (arguments, len(err))
    assert status == 0 or len(err.splitlines()) in (1, 2), (arguments, err)
    assert all(c.isprintable() or c == "\n" for c in out + err), arguments
    return status, err


@pytest.mark.parametrize(("command", "option"), CASES, ids=lambda text: text or "argument")
def test_nonsense_in_an_option_is_one_line(
    command: str, option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [*WORDS, *(SETTINGS if option == "--set" else ()), *([] if option in WRITERS else DEVICES)]
    for word in words:
        start = START.get(command, [])
        if option:
            answer(capsys, command, *start, f"{option}={word}")
        else:
            answer(capsys, command, word, *start[1:])
            answer(capsys, command, *start, word)
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]


def wrong_values() -> list[Any]:
    """Values of every kind that a caller may pass by mistake; those that are right somewhere count as right there."""

    class Loud:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    numbers = [5, -1, 0.5, math.nan, math.inf, 10**5000, True, 1j, Decimal("0.5"), np.float16(0.5), np.array([1, 2])]
    texts = ["x", "", "\0", "\ud800", "[/x]", "x" * 100_000, b"x", np.str_("x"), Path("pipe"), Path("/")]
    tables = [
        [],
        [[]],
        (),
        {},
        {1: 2},
        {"x": deep},
        set(),
        [None],
        ["x"],
        range(3),
        count(),
        deep,
        [deep],
        [[1, 64], 3],
    ]
    return [
        *numbers,
        *texts,
        *tables,
        object(),
        object,
        Loud(),
        len,
        Spec,
        Conv(3),
        Head(),
        np.array(["x"]),
        np.zeros((3, 0)),
    ]


SPEC = Spec((Block((Conv(4),)),), (1, 8, 8), 10, Head((8,)))
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "arch": (vgg.arch, ("vgg11",)),
    "expand": (vgg.expand, (SPEC,)),
    "totals": (vgg.totals, (vgg.expand(SPEC),)),
    "init": (vgg.init, (SPEC,)),
    "shapes": (vgg.shapes, (SPEC,)),
    "load_params": (vgg.load_params, ("w",)),
    "load_spec": (vgg.load_spec, ("w",)),
    "save_params": (vgg.save_params, ("w", vgg.init(SPEC), SPEC)),
    "show": (vgg.show, (SPEC,)),
    "train": (vgg.train, ("torch", SPEC)),
    "compare": (vgg.compare, (("torch",), SPEC)),
    "check": (vgg.check, (("torch",),)),
    "bench": (vgg.bench, (("torch",),)),
    "Spec": (Spec, (SPEC.blocks,)),
    "Block": (Block, ((Conv(4),),)),
    "Conv": (Conv, (4,)),
    "Pool": (Pool, ()),
    "Head": (Head, ()),
    "Recipe": (Recipe, ()),
    "Setup": (Setup, ()),
    "Block.of": (Block.of, ((1, 64),)),
    "Spec.from_blocks": (Spec.from_blocks, (((1, 64),),)),
    "Spec.modified": (SPEC.modified, ()),
    "Spec.from_dict": (Spec.from_dict, (SPEC.to_dict(),)),
    "Spec.from_json": (Spec.from_json, (SPEC.to_json(),)),
    "Spec.from_toml": (Spec.from_toml, (SPEC.to_toml(),)),
    "Spec.load": (Spec.load, ("tiny.json",)),
    "Recipe.from_dict": (Recipe.from_dict, ({},)),
    "Recipe.lr_at": (Recipe().lr_at, (0,)),
    "recipe": (recipe, ("quick",)),
}
"""Functions of the Python API, and positional arguments that are right."""
MORE: dict[str, tuple[str, ...]] = {
    "arch": tuple(CHANGES),
    "Spec.from_blocks": ("input_shape", "classes", "head", "batch_norm", "name"),
    "train": (*FIELDS[1:], *(field.name for field in dataclasses.fields(Setup))),
    "compare": (*FIELDS[1:], "device", "env", "timeout"),
    "recipe": FIELDS,
}
"""The names of further keyword arguments."""


def refusal(call: Callable[[], Any]) -> str:
    """Call, and return the message of the ``VGGError`` that it raises, or "" if it raises none. Others go on up."""
    try:
        call()
    except VGGError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_argument_of_the_python_api_is_a_vgg_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    function, right = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters.values()
    keywords = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)} - {"progress"}
    positional = [p.name for p in parameters][: len(right)]
    for value in wrong_values():
        for parameter in sorted(keywords | {*MORE.get(name, ())}):
            arguments = {**dict(zip(positional, right, strict=False)), parameter: value}
            message = refusal(lambda arguments=arguments: function(**arguments))  # type: ignore[misc]
            assert len(message) < LONGEST
            assert message.isprintable(), (parameter, message)
        if name in MORE:
            assert refusal(lambda value=value: function(*right, nonsense=value))  # type: ignore[misc]
