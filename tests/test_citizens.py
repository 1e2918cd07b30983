"""Models are citizens of their frameworks: what a user of each does with one, by that framework's own calls."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import vgg
from vgg.process import registry
from vgg.process.environments import launch

CITIZENS = Path(__file__).parent / "citizens"
NETS = ("plain", "bn", "lrn")


def checks(backend: str) -> list[str]:
    """The checks of that framework's models: those of all frameworks, and its own."""
    return [*_names("citizens", "COMMON"), *_names(f"citizens_{backend}", "CHECKS")]


def _names(module: str, table: str) -> list[str]:
    """The names of the checks in a table of a file, read without importing it."""
    tree = ast.parse((CITIZENS / f"{module}.py").read_text())
    value = next(n.value for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == table)
    assert isinstance(value, ast.DictComp)
    names = value.generators[0].iter
    assert isinstance(names, ast.Tuple)
    return [ast.unparse(name) for name in names.elts]


@lru_cache
def results(backend: str) -> dict[str, Any]:
    """What went wrong in the framework's environment, by check and net."""
    with TemporaryDirectory(prefix="vgg-") as home:
        Path(home, "vgg").symlink_to(Path(vgg.__file__).parent)
        command, environ = launch(registry.find(backend), "auto", home)
        environ = {**environ, "PYTHONPATH": os.pathsep.join((home, str(CITIZENS))), "CUDA_VISIBLE_DEVICES": "-1"}
        script = [*command, str(CITIZENS / "citizens.py"), backend]
        done = subprocess.run(script, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


CASES = [
    pytest.param(name, f"{check} {net}", id=f"{name}-{check}-{net}")
    for name in registry.own_names()
    for check in checks(name)
    for net in NETS
]


@pytest.mark.parametrize(("backend", "case"), CASES)
def test_a_model_is_a_citizen_of_its_framework(backend: str, case: str) -> None:
    wrong = results(backend)[case]
    assert not wrong, wrong
