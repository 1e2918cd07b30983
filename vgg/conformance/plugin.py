"""The pytest plugin: options, hooks and fixtures.

Every pytest of an environment loads it, so it imports nothing until a backend is asked for or a cell is collected. What
it does then is in ``session``.
"""

from __future__ import annotations

import glob
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..process.client import Jobs
    from .cell import Cell
    from .declared import Fact

DEFAULTS = {"env": "auto", "timeout": 900.0, "device": "cpu", "replicas": 1}
ASKING = ("backend", "spec", "json", "known", "examples", "seed", "thorough")
"""The options that ask for the suite."""
FIXTURES = {"vgg_backend", "vgg_cell", "vgg_fact"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--vgg-backend NAME`` (repeatable; default: the four of this package) and the options of ``vgg check``."""
    group = parser.getgroup("vgg", "conformance of VGG backends")
    backend: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME", "dest": "vgg_backend"}
    group.addoption("--vgg-backend", **backend, help="judge this backend; repeat for more")
    group.addoption(
        "--vgg-timeout",
        type=float,
        default=DEFAULTS["timeout"],
        help="seconds that a worker may go without a sign of life",
    )
    group.addoption("--vgg-env", default=DEFAULTS["env"], choices=["auto", "current", "uv"], help="where backends run")
    group.addoption("--vgg-device", default=DEFAULTS["device"], choices=["cpu", "gpu", "auto"], help="where models go")
    group.addoption(
        "--vgg-replicas",
        type=int,
        default=DEFAULTS["replicas"],
        metavar="N",
        help="number of devices that a learner trains on",
    )
    group.addoption("--vgg-examples", type=int, metavar="N", help="number of random specs for each backend")
    group.addoption("--vgg-seed", type=int, metavar="N", help="draw random specs and lives anew, from this seed")
    group.addoption("--vgg-thorough", action="store_true", help="also run the cells that take longer")
    group.addoption("--vgg-spec", metavar="FILE", help="judge backends on this spec alone")
    group.addoption("--vgg-json", metavar="FILE", help="write all results as JSON")
    group.addoption("--vgg-known", metavar="FILE", help="TOML file of known failures; see docs/backends.md")


def pytest_load_initial_conftests(args: list[str]) -> None:
    """Let ``--backend`` mean ``--vgg-backend`` when the suite itself is run; elsewhere another plugin may own it."""
    if any("vgg.conformance" in argument for argument in args):
        args[:] = [f"--vgg-{arg[2:]}" if arg.partition("=")[0] == "--backend" else arg for arg in args]


def pytest_configure(config: pytest.Config) -> None:
    """Collect the suite whatever names this project's tests have; if it is asked for, refuse what cannot be judged."""
    suite = Path(__file__).with_name("test_conformance.py")
    config.addinivalue_line("python_files", glob.escape(str(suite)))
    if any("conformance" in argument for argument in config.args):
        for name in ("test_conformance", "test_declared"):
            config.addinivalue_line("python_functions", name)
    if any(config.getoption(f"--vgg-{name}") for name in ASKING):
        _session().board(config)
    if hasattr(config, "workerinput") and _begun(config):  # see SideBySide
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ends."""
    if _begun(config):
        _session().board(config).close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each backend and cell, with all tests of one backend together."""
    if FIXTURES & {*metafunc.fixturenames}:
        _session().parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which cells were collected. With ``--vgg-spec`` only cells remain, no facts."""
    if _begun(config):
        _session().collected(config, items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note which cells were deselected."""
    if items and _begun(items[0].config):
        _session().deselected(items[0].config, items)


@pytest.fixture
def vgg_judge(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Cell], None]:
    """Return a function that judges a cell, notes its verdict for the matrix and the JUnit file, and may fail."""
    return lambda cell: _session().judge(request, vgg_backend, record_property, cell)


@pytest.fixture
def vgg_measure(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Callable[[Jobs], Fact]], None]:
    """Return a function that measures a declared difference, notes it, and fails if it contradicts the declaration."""
    return lambda fact: _session().measure(request, vgg_backend, record_property, fact)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the seconds that each backend takes."""
    if not _begun(item.config):
        return (yield)
    with _session().clock(item):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Send the board from a pytest-xdist worker to the main process, which decides the exit status and writes JSON."""
    if _begun(session.config):
        _session().finish(session, exitstatus)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the results of a pytest-xdist worker to the board; one that died has sent none."""
    if results := getattr(node, "workeroutput", {}).get("vgg"):
        _session().board(node.config).take(results)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix: one row per check, one column per backend; each cell is the measured error over its limit."""
    if _begun(config):
        _session().summarise(terminalreporter, config)


def _begun(config: pytest.Config) -> bool:
    """Return whether there is a board, without importing ``session``: it is imported only if there is one."""
    import sys

    session = sys.modules.get("vgg.conformance.session")
    return session is not None and session.KEY in config.stash


def _session() -> Any:
    from . import session

    return session
