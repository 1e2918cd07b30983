"""The pytest plugin: picks the backends, holds one worker each, and prints the matrix of checks and backends."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .board import Backend, Board

if TYPE_CHECKING:
    from ..client import Jobs
    from .cell import Judge
    from .declared import Fact

KEY = pytest.StashKey[Board]()
KNOWN = pytest.StashKey[dict[tuple[str, str], str]]()
"""Why, by (backend, check) that is known to fail."""
DEFAULTS = {"env": "auto", "timeout": 900.0, "device": "cpu", "replicas": 1}


class Results:
    """A plugin that keeps what was found after the session, for ``vgg check --json``."""

    found: dict[str, Any]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Take it along."""
        self.found = _found(session, exitstatus)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--backend NAME`` (again for more; default: the four of this package), and the options of ``vgg check``."""
    group = parser.getgroup("vgg", "conformance of VGG backends")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME", help="judge this backend; may be given again"
    )
    group.addoption(
        "--vgg-timeout", type=float, default=DEFAULTS["timeout"], help="limit for a worker without a sign of life"
    )
    group.addoption("--vgg-env", default=DEFAULTS["env"], choices=["auto", "current", "uv"], help="where backends run")
    group.addoption("--vgg-device", default=DEFAULTS["device"], choices=["cpu", "gpu", "auto"], help="where models go")
    group.addoption(
        "--vgg-replicas", type=int, default=DEFAULTS["replicas"], metavar="N", help="devices that a learner trains on"
    )
    group.addoption("--vgg-examples", type=int, metavar="N", help="random specs that each backend is judged on")
    group.addoption("--vgg-spec", metavar="FILE", help="judge backends on this spec alone")
    group.addoption("--vgg-json", metavar="FILE", help="write everything that was found")
    group.addoption("--vgg-known", metavar="FILE", help="TOML file of known failures: id, reason, link")


def pytest_configure(config: pytest.Config) -> None:
    """Start with an empty board; refuse names, specs and known failures that are none before anything is collected."""
    from .. import registry
    from ..errors import VGGError, mismatch
    from ..spec import Spec
    from . import known

    config.stash[KEY] = Board(*(config.getoption(f"--vgg-{name}") for name in DEFAULTS))
    try:
        for name in config.getoption("--backend"):
            registry.find(name)
        if config.getoption("--vgg-spec"):
            Spec.load(config.getoption("--vgg-spec"))
        out, path = config.getoption("--vgg-json"), config.getoption("--vgg-known")
        if out and not os.access(Path(out).absolute().parent, os.W_OK):
            raise mismatch("--vgg-json", out, "a file in a folder that can be written")
        config.stash[KNOWN] = dict(known.read(path, _checks(config))) if path else {}
    except VGGError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ends."""
    config.stash[KEY].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that judges a backend one run for each, all of one backend together, and each cell a test."""
    if "vgg_backend" in metafunc.fixturenames:
        metafunc.parametrize("vgg_backend", _backends(metafunc.config), scope="session")
    if "vgg_cell" in metafunc.fixturenames:
        found = _cells(metafunc.config)
        metafunc.parametrize("vgg_cell", found.values(), ids=[name.replace(" ", "-") for name in found])


def _backends(config: pytest.Config) -> list[str]:
    from .. import registry

    return [registry.find(name).name for name in config.getoption("--backend")] or list(registry.own_names())


def _cells(config: pytest.Config) -> dict[str, Any]:
    from ..spec import Spec
    from . import suite

    if config.getoption("--vgg-spec"):
        return suite.given(Spec.load(config.getoption("--vgg-spec")))
    return suite.cells(config.getoption("--vgg-examples") or suite.EXAMPLES)


def _checks(config: pytest.Config) -> list[tuple[str, str]]:
    """(backend, check) of every cell and fact."""
    from .declared import FACTS

    facts = [] if config.getoption("--vgg-spec") else [f"declared {fact}" for fact in FACTS]
    return list(itertools.product(_backends(config), [*(n.replace("-", " ") for n in _cells(config)), *facts]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what the file of known failures lists. A spec of one's own is judged alone."""
    if config.getoption("--vgg-spec"):
        items[:] = [item for item in items if "vgg_fact" not in getattr(item, "fixturenames", ())]
    for item in items:
        backend = _parameters(item).get("vgg_backend")
        if backend and (why := config.stash[KNOWN].get((backend, _check(item)))):
            item.add_marker(pytest.mark.xfail(strict=True, reason=why))


@pytest.fixture
def vgg_judge(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Judge], None]:
    """Runs one cell, notes its verdict in the matrix and the JUnit file, and fails if it is not well."""
    from .cell import NotJudgedError
    from .suite import judged

    board, again = request.config.stash[KEY], _again(request, vgg_backend)

    def judge(cell: Judge) -> None:
        try:
            verdict = judged(cell, Backend(board, vgg_backend))
        except NotJudgedError as error:
            board.leave(_check(request.node), vgg_backend, str(error))
            pytest.skip(f"{vgg_backend}: not judged: {error}")
        known = request.node.get_closest_marker("xfail") is not None
        board.note(_check(request.node), vgg_backend, verdict, known=known)
        found = {"error": float(verdict.error), "limit": float(verdict.limit)}
        for name, value in {**found, "basis": verdict.basis, "where": verdict.where}.items():
            record_property(name, value)
        if not verdict.ok:
            limit = f"\nlimit {float(verdict.limit):.1e}: {verdict.basis}" if math.isfinite(verdict.error) else ""
            pytest.fail(f"{vgg_backend}: {verdict.reason}{limit}\nto see just this: {again}", pytrace=False)

    return judge


@pytest.fixture
def vgg_fact(
    request: pytest.FixtureRequest, vgg_backend: str, record_property: Callable[[str, object], None]
) -> Callable[[Callable[[Jobs], Fact]], None]:
    """Measures one declared difference and notes it; fails where the measurement contradicts the declaration."""
    from .declared import measured

    board, again = request.config.stash[KEY], _again(request, vgg_backend)

    def measure(fact: Callable[[Jobs], Fact]) -> None:
        known = request.node.get_closest_marker("xfail") is not None
        found = measured(fact, lambda: board.worker(vgg_backend))._replace(known=known)
        board.facts.setdefault(request.node.callspec.params["fact"], {})[vgg_backend] = found
        for name, value in found._asdict().items():
            record_property(name, value)
        if found.wrong:
            pytest.fail(f"{vgg_backend}: {found.wrong}\nto see just this: {again}", pytrace=False)

    return measure


def _again(request: pytest.FixtureRequest, backend: str) -> str:
    """The command that runs this cell alone, the way it ran."""
    words = ["vgg", "check", backend, "-k", request.node.name.partition("[")[2]]
    for option in (*DEFAULTS, "spec", "examples"):
        given = request.config.getoption(f"--vgg-{option}")
        words += [] if given == DEFAULTS.get(option) else [f"--{option}", str(given)]
    return shlex.join(words)


def _check(node: pytest.Item) -> str:
    """'torch-forward-plain-float64-eval' -> 'forward plain float64 eval', and of a fact 'declared lrn'."""
    name = node.name.partition("[")[2].removesuffix("]")
    check = name.removeprefix(f"{_parameters(node)['vgg_backend']}-").replace("-", " ")
    return f"declared {check}" if "fact" in _parameters(node) else check


def _parameters(node: pytest.Item) -> dict[str, Any]:
    return dict(node.callspec.params) if hasattr(node, "callspec") else {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the seconds that each backend takes."""
    backend = _parameters(item).get("vgg_backend")
    start = time.perf_counter()
    yield
    if backend:
        seconds = item.config.stash[KEY].seconds
        seconds[backend] = seconds.get(backend, 0.0) + time.perf_counter() - start


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In a process of pytest-xdist, hand the board to the one that prints; in that one, write it."""
    from ..params import write_atomically

    board, path = session.config.stash[KEY], session.config.getoption("--vgg-json")
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["vgg"] = board.handed()
    elif path:
        write_atomically(Path(path), json.dumps(_found(session, exitstatus)).encode())


def _found(session: pytest.Session, status: int) -> dict[str, Any]:
    return {"ok": status == pytest.ExitCode.OK, **session.config.stash[KEY].to_dict()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist found; one that died hands over nothing."""
    if handed := getattr(node, "workeroutput", {}).get("vgg"):
        node.config.stash[KEY].take(handed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The matrix: a row a check, a column a backend, a cell the measured error over its limit."""
    board = config.stash[KEY]
    for title, rows in board.tables():
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        terminalreporter.section(title)
        for first, *rest in rows:
            texts = (f"{text:>{width}}" for text, width in zip(rest, widths[1:], strict=True))
            terminalreporter.line("  ".join([f"{first:<{widths[0]}}", *texts]))
    for line in board.unjudged():
        terminalreporter.line(line)
