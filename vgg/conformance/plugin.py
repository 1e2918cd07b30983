"""The pytest plugin: options, hooks and fixtures. Every pytest of an environment loads it, so it imports nothing until
a backend is asked for or a cell is collected; what it then does is in ``session``.
"""

from __future__ import annotations

import glob
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
"""Options that ask for the suite."""
FIXTURES = {"vgg_backend", "vgg_cell", "vgg_fact"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--vgg-backend NAME`` (again for more; default: the four of this package), and the options of ``vgg check``."""
    group = parser.getgroup("vgg", "conformance of VGG backends")
    backend: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME", "dest": "vgg_backend"}
    group.addoption("--vgg-backend", **backend, help="judge this backend; may be given again")
    group.addoption(
        "--vgg-timeout", type=float, default=DEFAULTS["timeout"], help="limit for a worker without a sign of life"
    )
    group.addoption("--vgg-env", default=DEFAULTS["env"], choices=["auto", "current", "uv"], help="where backends run")
    group.addoption("--vgg-device", default=DEFAULTS["device"], choices=["cpu", "gpu", "auto"], help="where models go")
    group.addoption(
        "--vgg-replicas", type=int, default=DEFAULTS["replicas"], metavar="N", help="devices that a learner trains on"
    )
    group.addoption("--vgg-examples", type=int, metavar="N", help="random specs that each backend is judged on")
    group.addoption("--vgg-seed", type=int, metavar="N", help="draw random specs and lives anew, from this seed")
    group.addoption("--vgg-thorough", action="store_true", help="also the cells that take longer")
    group.addoption("--vgg-spec", metavar="FILE", help="judge backends on this spec alone")
    group.addoption("--vgg-json", metavar="FILE", help="write everything that was found")
    group.addoption("--vgg-known", metavar="FILE", help="TOML file of known failures; see docs/backends.md")


def pytest_load_initial_conftests(args: list[str]) -> None:
    """Let ``--backend`` stand for ``--vgg-backend`` where the suite itself is run; elsewhere it may be another's."""
    if any("vgg.conformance" in argument for argument in args):
        args[:] = [f"--vgg-{arg[2:]}" if arg.partition("=")[0] == "--backend" else arg for arg in args]


def pytest_configure(config: pytest.Config) -> None:
    """Collect the suite whatever this project calls its tests; if it is asked for, refuse what cannot be judged."""
    suite = Path(__file__).with_name("test_conformance.py")
    config.addinivalue_line("python_files", glob.escape(str(suite)))
    if any("conformance" in argument for argument in config.args):
        for name in ("test_conformance", "test_declared"):
            config.addinivalue_line("python_functions", name)
    if any(config.getoption(f"--vgg-{name}") for name in ASKING):
        _session().board(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ends."""
    if _begun(config):
        _session().board(config).close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that judges a backend one run for each, all of one backend together, and each cell a test."""
    if FIXTURES & {*metafunc.fixturenames}:
        _session().parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note what was collected. A spec of one's own is judged alone."""
    if _begun(config):
        _session().collected(config, items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Note what nobody asked for."""
    if items and _begun(items[0].config):
        _session().deselected(items[0].config, items)


@pytest.fixture
def vgg_judge(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Cell], None]:
    """Runs one cell, notes its verdict in the matrix and the JUnit file, and fails if it is not well."""
    return lambda cell: _session().judge(request, vgg_backend, record_property, cell)


@pytest.fixture
def vgg_measure(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Callable[[Jobs], Fact]], None]:
    """Measures one declared difference and notes it; fails where the measurement contradicts the declaration."""
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
    """In a process of pytest-xdist, hand the board to the one that prints; in that one, decide, and write it."""
    if _begun(session.config):
        _session().finish(session, exitstatus)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist found; one that died hands over nothing."""
    if handed := getattr(node, "workeroutput", {}).get("vgg"):
        _session().board(node.config).take(handed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The matrix: one row per check, one column per backend, a cell the measured error over its limit."""
    if _begun(config):
        _session().summarise(terminalreporter, config)


def _begun(config: pytest.Config) -> bool:
    """Whether there is a board, asked of a module that is imported only then."""
    import sys

    session = sys.modules.get("vgg.conformance.session")
    return session is not None and session.KEY in config.stash


def _session() -> Any:
    from . import session

    return session
