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
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("compare-*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_tables_are_made_from_committed_runs(path: Path) -> None:
    assert markdown.replaced(README, path.name, markdown.table(json.loads(path.read_text()))) == README


def test_there_is_a_run_to_show() -> None:
    assert "compare-digits.json" in [path.name for path in RESULTS]


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^    (?:.*&& )?vgg (.+)$", README, re.MULTILINE))))
def test_commands_in_the_readme_parse(line: str) -> None:
    parser().parse_args(line.partition("  #")[0].split())
