"""Judge several backends at a time, each with all of its cells in one process of pytest-xdist."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByBackend(LoadScopeScheduling):  # type: ignore[misc] # what pytest-xdist returns is Any
    """A scheduler that gives all cells of one backend to the same process."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the backend: 'test_conformance.py::test_conformance[torch-forward-plain]' -> 'torch'."""
        return nodeid.partition("[")[2].partition("-")[0]


class SideBySide:
    """A plugin that makes pytest-xdist schedule tests by backend."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ByBackend:
        """Return the scheduler."""
        return ByBackend(config, log)
