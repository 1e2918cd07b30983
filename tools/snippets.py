"""Runs the snippets of the documentation in the frameworks' locked environments, and keeps what they print.

A snippet is a file ``docs/snippets/TOPIC/of_FRAMEWORK.py``, or a function of ``docs/repro/*.py``. ``python
tools/snippets.py [FRAMEWORK...]`` runs what this machine can and updates ``docs/snippets/outputs.json``. Each output
is stored with the versions and with a fingerprint of the code and the lock file: a test fails where one of these has
changed and nobody has run the snippet again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from vgg.core.errors import VGGError
from vgg.core.files import write_atomically
from vgg.process import registry
from vgg.process.environments import launch

ROOT = Path(__file__).resolve().parent.parent
SNIPPETS, REPRO = ROOT / "docs" / "snippets", ROOT / "docs" / "repro"
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
"""What makes words bold or coloured in a terminal."""
OUTPUTS, TOPICS = SNIPPETS / "outputs.json", SNIPPETS / "topics.toml"
TOLERANCE = 1e-3
"""How far a number may be from the committed one, as a share of it, if the topic does not say otherwise."""
PLAIN = "oracle"
"""The name of the snippets that need vgg and NumPy only, and run in the current interpreter."""
MODULES = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax", "flax", "optax"),
    "mxnet": ("mxnet",),
    PLAIN: ("numpy",),
}
"""The modules of each framework, whose versions a page names: they are imported once, before the snippets."""
REPROS = {"mxnet": "of_mxnet", "tensorflow": "of_keras", "jax": "of_flax"}
"""The files of ``docs/repro``, whose functions are snippets too."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+)(?![\w.])", re.IGNORECASE)


@dataclass(frozen=True)
class Snippet:
    """A snippet: its ``topic``, its ``framework``, its file, and the function to call (empty: the file is run)."""

    topic: str
    framework: str
    path: Path
    function: str = ""

    @property
    def name(self) -> str:
        """The key in ``outputs.json``."""
        return f"{self.topic}/{self.framework}"

    @cached_property
    def code(self) -> str:
        """The source that a page shows: of the file, or of the function without its docstring."""
        text = self.path.read_text(encoding="utf-8")
        return part(text, self.function) if self.function else text

    @property
    def needs(self) -> str:
        """What a machine must have to run it, or an empty text."""
        return str(about(self.topic).get("needs", ""))

    def fingerprint(self, versions: Mapping[str, str]) -> str:
        """Return sixteen characters that differ when the code, the lock file or the versions do."""
        whole = self.path.read_text(encoding="utf-8")
        parts = [
            self.code if self.function else whole,
            _lock(self.framework),
            json.dumps(dict(sorted(versions.items()))),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def part(text: str, name: str) -> str:
    """Return the source of the function or class ``name`` in a module's ``text``, without its docstring."""
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name)
    lines = text.splitlines()
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
        del lines[first.lineno - 1 : first.end_lineno]
        return "\n".join(lines[node.lineno - 1 : (node.end_lineno or 0) - (first.end_lineno or 0) + first.lineno - 1])
    return "\n".join(lines[node.lineno - 1 : node.end_lineno])


@lru_cache
def _topics() -> dict[str, Any]:
    return tomllib.loads(TOPICS.read_text(encoding="utf-8"))


def about(topic: str) -> dict[str, Any]:
    """Return what ``topics.toml`` says about a topic."""
    return dict(_topics().get(topic, {}))


def all_snippets() -> dict[str, Snippet]:
    """Return every snippet by name."""
    files = sorted(SNIPPETS.glob("*/of_*.py"))
    snippets = [Snippet(path.parent.name, path.stem.removeprefix("of_"), path) for path in files]
    for framework, module in REPROS.items():
        path = REPRO / f"{module}.py"
        functions = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
        snippets += [Snippet(f"repro.{function.name}", framework, path, function.name) for function in functions]
    return {snippet.name: snippet for snippet in snippets}


@lru_cache
def _lock(framework: str) -> str:
    lock = None if framework == PLAIN else registry.find(framework).lock
    return lock.read_text(encoding="utf-8") if lock else ""


def here(snippet: Snippet) -> str:
    """Return why this machine cannot run a snippet, or an empty text if it can."""
    lacks = snippet.needs == "gpu" and not shutil.which("nvidia-smi")
    return f"it needs a {snippet.needs.upper()}" if lacks else ""


def run(snippets: Iterable[Snippet]) -> dict[str, dict[str, Any]]:
    """Run snippets of one framework and return, by name, what ``outputs.json`` holds of them.

    Raises ``VGGError`` when one of them fails.
    """
    chosen = list(snippets)
    framework = chosen[0].framework
    request = {
        "modules": MODULES[framework],
        "jobs": [(str(snippet.path), snippet.function) for snippet in chosen],
    }
    answer = _answer(framework, request)
    entries = {}
    for snippet, result in zip(chosen, answer["results"], strict=True):
        if result["error"]:
            raise VGGError(f"{snippet.name}: {result['error']}")
        versions = answer["versions"]
        about = {"fingerprint": snippet.fingerprint(versions), "versions": versions}
        entries[snippet.name] = about | {"output": _STYLES.sub("", result["output"])}
    return entries


def _answer(framework: str, request: Mapping[str, Any]) -> dict[str, Any]:
    command, environ = [sys.executable], {**os.environ, "PYTHONPATH": str(ROOT)}
    if framework != PLAIN:
        command, environ = launch(registry.find(framework), "auto", "")
    environ |= {
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONHASHSEED": "0",
        "JAX_TRACEBACK_FILTERING": "off",
    }
    runner = str(Path(__file__).with_name("snippet_runner.py"))
    done = subprocess.run(
        [*command, runner], input=json.dumps(request), env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise VGGError(f"{framework}: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def difference(got: str, wanted: str, tolerance: float = TOLERANCE) -> str:
    """Return in one line how two outputs differ, or an empty text.

    Texts and whole numbers must be the same, and other numbers as near as ``tolerance``, a share of the wanted one.
    """
    texts = [_NUMBER.sub("#", text) for text in (got, wanted)]
    if texts[0] != texts[1]:
        return f"got {got!r}, wanted {wanted!r}"
    for mine, theirs in zip(*(map(float, _NUMBER.findall(text)) for text in (got, wanted)), strict=True):
        if not math.isclose(mine, theirs, rel_tol=tolerance, abs_tol=1e-9 if tolerance < 1 else math.inf):
            return f"got {mine}, wanted {theirs} within {tolerance:.1%}"
    return ""


def outputs() -> dict[str, Any]:
    """Return what is committed."""
    return dict(json.loads(OUTPUTS.read_text(encoding="utf-8"))) if OUTPUTS.exists() else {}


def main(names: list[str]) -> None:
    """Run the snippets of the frameworks ``names``, by default all, and update ``outputs.json``."""
    kept, snippets = outputs(), all_snippets()
    for framework in names or MODULES:
        own = [snippet for snippet in snippets.values() if snippet.framework == framework]
        for snippet in own:
            if reason := here(snippet):
                print(f"{snippet.name}: not run, {reason}")
        kept |= run(snippet for snippet in own if not here(snippet))
        print(f"{framework}: {len(own)} snippets")
    kept = {name: entry for name, entry in sorted(kept.items()) if name in snippets}
    write_atomically(OUTPUTS, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
