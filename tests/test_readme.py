"""The README's figures are those of the committed runs, and its commands parse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vgg.cli import parser
from vgg.report import markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TABLES = {
    "compare-digits.json": "README.md",
    "compare-fashion-mnist.json": "README.md",
    "check.json": "docs/conformance.md",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_made_from_committed_runs(name: str) -> None:
    document = (ROOT / TABLES[name]).read_text()
    result = json.loads((ROOT / "benchmarks" / "results" / name).read_text())
    assert markdown.replaced(document, name, markdown.table(result)) == document


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^    (?:.*&& )?vgg (.+)$", README, re.MULTILINE))))
def test_commands_in_the_readme_parse(line: str) -> None:
    parser().parse_args(line.partition("  #")[0].split())
