"""What the pytest plugin does once a backend is asked for: judge cells, expect known failures, decide and print."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ..core import files, outputs
from ..core.comparator import UNDECLARED
from ..core.errors import VGGError
from ..core.spec import Spec
from ..core.systems import check_posix
from ..process import registry
from . import known as known_failures
from . import suite
from .board import Backend, Board
from .cell import Cell, NotJudgedError
from .declared import FACTS, Fact, measured, needs
from .plugin import DEFAULTS
from .tally import DONE, FACT, NOT_CLAIMED, NOT_DECLARED

if TYPE_CHECKING:
    from ..process.client import Jobs
    from .known import Known

KEY = pytest.StashKey[Board]()
KNOWN = pytest.StashKey[dict[tuple[str, str], "Known"]]()
"""The known failures by (backend, check)."""
CELLS = pytest.StashKey[dict[str, Cell]]()
LONGEST = ("jax", "tensorflow")
"""The backends that compile take longest, so they begin: side by side, all of them then end sooner."""
Record = Callable[[str, object], None]


class Results:
    """A plugin that keeps the board. Where it is loaded, ``vgg check`` prints the counts, after everything else."""

    board: Board | None = None
    interrupted = False

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep the session's board."""
        self.board = session.config.stash.get(KEY, None)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note whether Ctrl-C interrupted the session, rather than an error in collection."""
        self.interrupted = excinfo.type is KeyboardInterrupt


def board(config: pytest.Config) -> Board:
    """Return the session's board; at first use, raise ``pytest.UsageError`` if an option is invalid."""
    if KEY not in config.stash:
        try:
            _begin(config)
        except VGGError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[KEY]


def _begin(config: pytest.Config) -> None:
    check_posix("the suite")
    backends = [registry.find(name).name for name in config.getoption("--vgg-backend")] or [*registry.own_names()]
    path, report = config.getoption("--vgg-spec"), config.getoption("--vgg-json")
    if report:
        outputs.check_output("--vgg-json", files.path_of("--vgg-json", report), outputs.CHECK)
    examples, seed = config.getoption("--vgg-examples") or suite.EXAMPLES, config.getoption("--vgg-seed")
    thorough = config.getoption("--vgg-thorough")
    cells = suite.given(Spec.load(path)) if path else suite.cells(examples, thorough=thorough, seed=seed)
    required = {name: (cell.level, cell.dtypes) for name, cell in cells.items()}
    required |= {} if path else {FACT + name: needs(name) for name in FACTS}
    known, pairs = config.getoption("--vgg-known"), [(backend, check) for backend in backends for check in required]
    config.stash[KNOWN] = known_failures.read(known, pairs) if known else {}
    where = {name: config.getoption(f"--vgg-{name}") for name in DEFAULTS}
    config.stash[CELLS] = cells
    config.stash[KEY] = Board([*dict.fromkeys(backends)], required, thorough=thorough, **where)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Make one test for each backend, cell and fact."""
    backends = sorted(board(metafunc.config).backends, key=lambda name: name not in LONGEST)
    if "vgg_backend" in metafunc.fixturenames:
        metafunc.parametrize("vgg_backend", backends, scope="session")
    if "vgg_cell" in metafunc.fixturenames:
        cells = metafunc.config.stash[CELLS]
        metafunc.parametrize("vgg_cell", cells.values(), ids=[name.replace(" ", "-") for name in cells])
    if "vgg_fact" in metafunc.fixturenames:
        metafunc.parametrize("vgg_fact", FACTS.values(), ids=[name.replace(" ", "-") for name in FACTS])


def collected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which cells are collected, before other plugins remove any. With ``--vgg-spec`` remove the facts."""
    state = board(config)
    if config.getoption("--vgg-spec"):
        items[:] = [item for item in items if "vgg_fact" not in _parameters(item)]
    cells = {(backend, check) for item in items if (check := _check(item)) for backend in (_backend(item),)}
    state.begun |= bool(cells) and not config.getoption("--collect-only")
    if any("::" in argument for argument in config.args):
        state.left_out |= {(backend, check) for backend in state.backends for check in state.needs} - cells


def deselected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note the cells that were deselected, for example by ``-k``."""
    board(config).left_out |= {(_backend(item), check) for item in items if (check := _check(item))}


def judge(request: pytest.FixtureRequest, backend: str, record: Record, cell: Cell) -> None:
    """Judge one cell; then pass, fail, skip or expect its failure, according to the verdict."""
    state, check = board(request.config), _check(request.node)
    _skip_unclaimed(state, backend, check)
    known = request.config.stash[KNOWN].get((backend, check))
    try:
        verdict = suite.judged(cell, Backend(state, backend))
    except NotJudgedError as error:
        state.leave(check, backend, str(error), known=bool(known and known.foretells(math.inf, str(error))))
        pytest.skip(f"{backend}: not judged: {error}")
    reason = verdict.reason.removeprefix(f"{backend}: ")
    foretold = bool(known and not verdict.ok and known.foretells(verdict.error, reason))
    state.note(check, backend, verdict.of(reason), known=foretold, expected=bool(known))
    numbers = {"error": float(verdict.error), "limit": float(verdict.limit), "limit_ulp": verdict.limit_ulp}
    for name, value in {**numbers, "basis": verdict.basis, "where": verdict.where}.items():
        record(name, value)
    if verdict.limit is UNDECLARED and verdict.ok and not known:
        pytest.skip(f"{backend}: {NOT_DECLARED}: {verdict.where}")
    limit = f"\nlimit {verdict.limit}: {verdict.basis}" if math.isfinite(verdict.error) else ""
    _conclude(request, backend, f"{reason}{limit}" if reason else "", known, foretold=foretold)


def measure(request: pytest.FixtureRequest, backend: str, record: Record, fact: Callable[[Jobs], Fact]) -> None:
    """Measure one declared difference; then pass, fail, skip or expect its failure, in the same way."""
    state, check = board(request.config), _check(request.node)
    row = state.facts.setdefault(check.removeprefix(FACT), {})
    if _unclaimed(state, backend, check):
        row[backend] = Fact(NOT_CLAIMED, math.inf)
    _skip_unclaimed(state, backend, check)
    known = request.config.stash[KNOWN].get((backend, check))
    result = measured(fact, lambda: state.worker(backend))
    result = result._replace(wrong=result.wrong.removeprefix(f"{backend}: "))
    foretold = bool(known and result.wrong and known.foretells(result.size, result.wrong))
    row[backend] = result = result._replace(known=foretold or bool(known and not result.wrong))
    for name, value in result._asdict().items():
        record(name, value)
    _conclude(request, backend, result.wrong, known, foretold=foretold)


def _unclaimed(state: Board, backend: str, check: str) -> str:
    """Return why the backend is not judged by this cell; an empty text if it claims the cell or cannot start."""
    try:
        state.worker(backend)
    except VGGError:
        return ""
    return state.unclaimed(backend, check)


def _skip_unclaimed(state: Board, backend: str, check: str) -> None:
    if reason := _unclaimed(state, backend, check):
        if not check.startswith(FACT):
            state.leave(check, backend, reason, NOT_CLAIMED)
        pytest.skip(f"{backend}: {reason}")


def _conclude(
    request: pytest.FixtureRequest, backend: str, reason: str, known: Known | None, *, foretold: bool
) -> None:
    """End the test as its verdict requires; an empty ``reason`` means that it passed."""
    if foretold and known:
        pytest.xfail(known.why)
    again = f"\nto see just this: {_again(request, backend)}"
    if known and not reason:
        pytest.fail(f"{backend}: unexpected pass, known to fail: {known.why}{again}", pytrace=False)
    if known:
        reason += f"\nknown for another reason: {known.how}: {known.why}"
    if reason:
        pytest.fail(f"{backend}: {reason}{again}", pytrace=False)


def _again(request: pytest.FixtureRequest, backend: str) -> str:
    """Return the command that runs this cell alone, with the same options."""
    command = ["vgg", "check", backend, "-k", request.node.name.partition("[")[2]]
    for option in (*DEFAULTS, "spec", "examples", "seed"):
        value = request.config.getoption(f"--vgg-{option}")
        command += [] if value == DEFAULTS.get(option) else [f"--{option}", str(value)]
    command += ["--thorough"] if request.config.getoption("--vgg-thorough") else []
    return shlex.join(command)


def _check(node: pytest.Item) -> str:
    """Return a test's cell, as 'forward plain float64 eval', or its fact, as 'declared lrn'; '' for any other test."""
    kind = next((name for name in ("vgg_cell", "vgg_fact") if name in _parameters(node)), "")
    name = node.name.partition("[")[2].removesuffix("]")
    check = name.removeprefix(f"{_backend(node)}-").replace("-", " ")
    return {"vgg_cell": check, "vgg_fact": FACT + check}.get(kind, "")


def _backend(node: pytest.Item) -> str:
    return str(_parameters(node).get("vgg_backend", ""))


def _parameters(node: pytest.Item) -> dict[str, Any]:
    return dict(node.callspec.params) if hasattr(node, "callspec") else {}


@contextmanager
def clock(item: pytest.Item) -> Iterator[None]:
    """Add the time that a test takes to its backend's seconds."""
    backend, start = _backend(item), time.perf_counter()
    yield
    if backend:
        seconds = board(item.config).seconds
        seconds[backend] = seconds.get(backend, 0.0) + time.perf_counter() - start


def finish(session: pytest.Session, status: int) -> None:
    """Send the board to the main process, or decide there: a session in which a cell was not judged is no success."""
    from ..core.files import write_atomically

    state, path = board(session.config), session.config.getoption("--vgg-json")
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["vgg"] = state.handed()
        return
    state.complete()
    if status == pytest.ExitCode.OK and state.begun and state.status() != DONE:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if path:
        ok = session.exitstatus == pytest.ExitCode.OK and state.status() == DONE
        write_atomically(files.path_of("--vgg-json", path), json.dumps({"ok": ok, **state.to_dict()}).encode())


def summarise(reporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix, the facts, the reasons why cells were not judged, and the counts of those that were."""
    state = board(config)
    for title, rows in state.tables():
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        reporter.section(title)
        for first, *rest in rows:
            texts = (f"{text:>{width}}" for text, width in zip(rest, widths[1:], strict=True))
            reporter.line("  ".join([f"{first:<{widths[0]}}", *texts]))
    last = any(isinstance(plugin, Results) for plugin in config.pluginmanager.get_plugins())
    for line in [*state.unjudged(), *(() if last else state.lines())]:
        reporter.line(line)
