"""Judge several backends at a time, each with all of its cells in one process of pytest-xdist."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByBackend(LoadScopeScheduling):  # type: ignore[misc] # what pytest-xdist returns is Any
    """A scheduler that gives all cells of one backend to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the backend: 'test_conformance.py::test_conformance[torch-forward-plain]' -> 'torch'."""
        return nodeid.partition("[")[2].partition("-")[0]


class SideBySide:
    """A plugin that makes pytest-xdist schedule tests by backend, and passes an interruption on to its processes."""

    def __init__(self) -> None:
        self.processes: list[Any] = []

    def pytest_testnodeready(self, node: Any) -> None:
        """Note a process that is about to run tests."""
        self.processes.append(node.gateway._io.popen)  # noqa: SLF001  # execnet says it nowhere else

    def pytest_keyboard_interrupt(self) -> None:
        """Tell the processes to end, which pytest-xdist does after five seconds only, if Ctrl-C can reach them."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ByBackend:
        """Return the scheduler."""
        return ByBackend(config, log)
