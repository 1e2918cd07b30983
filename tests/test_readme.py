"""The README's figures are those of the committed runs, and its commands parse."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import plot
import pytest
import tables

from vgg import Spec
from vgg.cli.parser import parser
from vgg.process import environments, registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TABLES = {
    "compare-digits.json": "README.md",
    "compare-digits.json pairs": "docs/comparing.md",
    "compare-fashion-mnist.json": "README.md",
    "check.json": "docs/conformance.md",
    "check-flax_nnx.json": "plugins/flax_nnx/README.md",
    "bench-cpu.json": "docs/speed.md",
    "torch-convolutions.json": "docs/speed.md",
    "check-replicas.json": "docs/replicas.md",
    "settings-cpu.json": "docs/speed.md",
    "mxnet-profile.json": "docs/speed.md",
    "small-input.json": "docs/training.md",
    "bench-cpu.json in brief": "README.md",
}


def result(name: str) -> dict[str, Any]:
    """What is committed under that name."""
    loaded: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / name.split(maxsplit=1)[0]).read_text())
    return loaded


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_made_from_committed_runs(name: str) -> None:
    document = (ROOT / TABLES[name]).read_text()
    fresh = tables.documents(result(name), name.split(maxsplit=1)[0])[name]
    assert tables.replaced(document, name, fresh) == document


def test_the_exercise_was_run_with_the_spec_that_is_shown() -> None:
    assert Spec.load(ROOT / "docs" / "small-input.toml").to_dict() == result("small-input.json")["spec"]


def test_the_plot_is_made_from_a_committed_run() -> None:
    assert plot.svg(result("bench-cpu.json")) == (ROOT / "docs" / "speed.svg").read_text()


@pytest.mark.parametrize(
    ("backend", "script", "variables"),
    [
        ("mxnet", "of_mxnet", {}),
        ("tensorflow", "of_keras", {}),
        ("jax", "of_flax", {}),
        ("jax", "of_flax", {"XLA_FLAGS": ""}),
    ],
)
def test_divergences_are_as_the_document_shows_them(backend: str, script: str, variables: dict[str, str]) -> None:
    command, environ = environments.launch(registry.find(backend), "auto", "")
    environ |= variables
    path = ROOT / "docs" / "repro" / f"{script}.py"
    printed = subprocess.run([*command, str(path)], env=environ, capture_output=True, text=True, check=True).stdout
    document = (ROOT / "docs" / "divergences.md").read_text()
    shown = [line for line in printed.splitlines() if not line.startswith(("max-pool: ", "add_n: "))]
    assert shown
    assert [line for line in shown if f"    {line}\n" not in document] == []


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^    (?:.*&& )?vgg (.+)$", README, re.MULTILINE))))
def test_commands_in_the_readme_parse(line: str) -> None:
    parser().parse_args(line.partition("  #")[0].split())
