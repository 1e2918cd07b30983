"""Run pytest for ``vgg check``, so that nothing outside this package decides what is judged."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .board import threads
from .session import Results
from .side_by_side import SideBySide
from .tally import DONE, FAILED, NOTHING

DEAF = {"PYTEST_ADDOPTS": None, "PYTEST_PLUGINS": None, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
BUG, INTERRUPTED = 70, 130
"""Exit statuses besides those of a tally: an internal error, and Ctrl-C."""


def run(options: Sequence[str], jobs: int = 1) -> tuple[int, Results]:
    """Run the suite in one pytest session; return the exit status of ``vgg check`` and the results.

    ``jobs`` backends are judged at a time, each in a process of pytest-xdist; they share the cores, as in
    ``board.threads``. The session reads no conftest file, no settings except its own and no variable that pytest reads,
    and loads no other plugin.
    """
    folder, results = Path(__file__).parent, Results()
    settings = [
        "-c",
        str(folder / "check.ini"),
        "--rootdir",
        str(folder.parent),
        "--noconftest",
        "--import-mode=append",
    ]
    distribution = ["-p", "xdist", "-n", str(jobs)] if jobs > 1 else []
    plugins = [results, SideBySide()] if jobs > 1 else [results]
    with _environment({**DEAF, **threads(jobs)}):
        status = pytest.main([*settings, *distribution, str(folder / "test_conformance.py"), *options], plugins=plugins)
    return exit_status(status, results), results


def exit_status(status: int, results: Results) -> int:
    """Return the exit status of ``vgg check`` after a session that ended with pytest's ``status``."""
    if results.interrupted:
        return INTERRUPTED
    if status == pytest.ExitCode.USAGE_ERROR or results.board is None:
        return NOTHING
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.INTERRUPTED):
        return BUG
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return NOTHING
    judged = results.board.status()
    return judged if judged != DONE or status == pytest.ExitCode.OK else FAILED


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    before, path = {name: os.environ.get(name) for name in variables}, list(sys.path)
    _set(variables)
    try:
        yield
    finally:
        _set(before)
        sys.path[:] = path


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
