"""Tests run two at a time, on as few as two cores: with more threads than one each, frameworks wait for one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

TESTS = Path(__file__).parent
PLUGINS = "[vgg.backends]\nfaulty = faulty_backend\noracle = vgg_oracle\nmodest = modest_backend\n"
Check = Callable[..., tuple[int, dict[str, Any], str]]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the suite out where browsers or witnesses alone are asked for: a session that judges nothing has failed."""
    alone = config.getoption("markexpr") in ("browser", "witness")
    return True if alone and collection_path.name == "test_conformance.py" else None


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """``vgg check`` in a process that knows three plug-ins, ``faulty``, ``modest`` and ``oracle``: (status, JSON,
    standard error).
    """
    info = tmp_path / "vgg_plugins-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vgg-plugins\nVersion: 0\n")
    (info / "entry_points.txt").write_text(PLUGINS)
    paths = (tmp_path, TESTS.parent, TESTS, TESTS / "plugin_backend")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))

    def run(*arguments: str, fault: str = "none", cwd: Path | None = None) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setenv("VGG_FAULT", fault)
        command = [sys.executable, "-c", "import sys; from vgg.cli import main; sys.exit(main())", "check"]
        done = subprocess.run([*command, "--json", *arguments], capture_output=True, text=True, check=False, cwd=cwd)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    return run
