"""The pytest plugin: picks the backends, holds one worker each, and prints the matrix of checks and backends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..client import Worker
    from ..compare import Verdict

Record = Callable[["Verdict"], None]


@dataclass
class Board:
    """Verdicts of this session by check and backend, seconds by backend, and the workers."""

    env: str
    timeout: float = 600
    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    workers: dict[str, Worker | Exception] = field(default_factory=dict)

    def worker(self, backend: str) -> Worker:
        """The worker of ``backend``, started at first use and after a death; one that cannot start stays so."""
        from .. import registry
        from ..client import Worker
        from ..errors import VGGError

        found = self.workers.get(backend)
        if found is None or not (isinstance(found, Exception) or found.alive):
            try:
                found = Worker(registry.find(backend), env=self.env, timeout=self.timeout)
            except VGGError as error:
                found = error
            self.workers[backend] = found
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """End every worker."""
        for worker in self.workers.values():
            if not isinstance(worker, Exception):
                worker.close()


class Results:
    """A plugin that keeps the board after the session, for ``vgg check --json``."""

    def __init__(self) -> None:
        self.board = Board("auto")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Take the board along."""
        self.board = session.config.stash[KEY]

    def to_dict(self) -> dict[str, object]:
        """Cells and seconds."""
        return {"checks": self.board.cells, "seconds": self.board.seconds}


KEY = pytest.StashKey[Board]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--backend NAME`` (again for more; default: the four of this package) and ``--env auto|current|uv``."""
    group = parser.getgroup("vgg", "conformance of VGG backends")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME", help="judge this backend; may be given again"
    )
    group.addoption("--vgg-timeout", type=float, default=600, help="limit for a worker without a sign of life")
    group.addoption("--vgg-env", default="auto", choices=["auto", "current", "uv"], help="where backends run")


def pytest_configure(config: pytest.Config) -> None:
    """Start with an empty board."""
    config.stash[KEY] = Board(config.getoption("--vgg-env"), config.getoption("--vgg-timeout"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ends."""
    config.stash[KEY].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that judges a backend one run for each, all of one backend together."""
    if "vgg_backend" in metafunc.fixturenames:
        metafunc.parametrize("vgg_backend", _backends(metafunc.config), scope="session")


def _backends(config: pytest.Config) -> list[str]:
    from .. import registry
    from ..errors import VGGError

    try:
        return [registry.find(name).name for name in config.getoption("--backend")] or list(registry.own_names())
    except VGGError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture
def vgg_worker(request: pytest.FixtureRequest, vgg_backend: str) -> Worker:
    """The process that runs this test's backend."""
    from ..errors import VGGError

    try:
        return request.config.stash[KEY].worker(vgg_backend)
    except VGGError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def vgg_record(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Record:
    """Note a verdict in the matrix and the JUnit file, then fail if it is not well."""

    def note(verdict: Verdict) -> None:
        check = _check(request.node)
        cell = f"{verdict.error:.0e} / {verdict.limit:.0e}" if verdict.ok else "FAIL"
        request.config.stash[KEY].cells.setdefault(check, {})[vgg_backend] = cell
        record_property("error", verdict.error)
        record_property("limit", verdict.limit)
        if not verdict.ok:
            again = f"vgg check {vgg_backend} -k '{' and '.join(check.split())}'"
            pytest.fail(f"{vgg_backend}: {verdict.reason}\nto see just this: {again}", pytrace=False)

    return note


def _check(node: pytest.Item) -> str:
    name = node.name.partition("[")[0].removeprefix("test_")
    return " ".join([name, *(str(value) for key, value in _parameters(node).items() if key != "vgg_backend")])


def _parameters(node: pytest.Item) -> dict[str, Any]:
    return dict(node.callspec.params) if hasattr(node, "callspec") else {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the seconds that each backend takes, and mark what failed before a verdict."""
    backend = _parameters(item).get("vgg_backend")
    start = time.perf_counter()
    yield
    if backend:
        seconds = item.config.stash[KEY].seconds
        seconds[backend] = seconds.get(backend, 0.0) + time.perf_counter() - start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The matrix: a row a check, a column a backend, a cell the measured error over its limit."""
    board = config.stash[KEY]
    if not board.seconds:
        return
    backends = list(board.seconds)
    rows = [["", *backends]]
    rows += [[check, *(cells.get(name, "ERROR") for name in backends)] for check, cells in board.cells.items()]
    rows += [["time", *(f"{board.seconds[name]:.0f} s" for name in backends)]]
    width = max(len(row[0]) for row in rows)
    terminalreporter.section("conformance: error / limit")
    for check, *texts in rows:
        terminalreporter.line(" ".join([f"{check:<{width}}", *(f"{text:>15}" for text in texts)]))
