"""Commands as processes: their streams are closed, full or of another encoding, and they are told to end."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vgg.__main__ import NAMES, NOTICES

TESTS = Path(__file__).parent
SPEC = 'name = "tiny"\nblocks = [[1, 3], [1, 4]]\ninput_shape = [1, 8, 8]\nclasses = 10\nhead = {hidden = [8]}\n'
PLUGINS = "[vgg.backends]\noracle = vgg_oracle\nsecond = vgg_oracle\nlocked = vgg_locked\n"
CELL = "oracle-forward-plain-float64-eval]"
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "version": ("--version",),
    "list": ("list",),
    "show": ("show", "vgg16"),
    "show --json": ("show", "vgg16", "--json"),
    "env": ("env",),
    "check": ("check", "oracle", "-k", CELL),
    "check --json": ("check", "oracle", "-k", CELL, "--json"),
    "train": ("train", "oracle", "tiny.toml", "--epochs", "1", "--out", "run"),
    "compare": ("compare", "oracle", "--arch", "tiny.toml", "--epochs", "1", "--out", "run"),
}
VGG = """
import signal, sys
for notice in map(signal.Signals.__getitem__, {notices!r}):
    signal.signal(notice, signal.SIG_IGN if notice.name in {ignored!r} else signal.default_int_handler)
class Finder:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            {then}
sys.meta_path.insert(0, Finder())
from vgg.__main__ import run
sys.exit(run())
"""
"""``vgg``, which heeds signals also where what runs the tests has its jobs ignore them. It does something as soon as it
imports a module.
"""
SOON = 60.0
"""Seconds to wait for what takes few."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder for ``vgg``, with the oracle as a plug-in and a folder for temporary files."""
    info = tmp_path / "plugins" / "vgg_plugins-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vgg-plugins\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        "[vgg.backends]\noracle = vgg_oracle\nsecond = vgg_oracle\nlocked = vgg_locked\n"
    )
    (info.parent / "vgg_locked.py").touch()
    (info.parent / "vgg_locked.txt").write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "work" / "tmp").mkdir(parents=True)
    (tmp_path / "work" / "tiny.toml").write_text(SPEC)
    paths = (info.parent, TESTS.parent, TESTS / "plugin_backend")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work" / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "work" / "cache"))
    return tmp_path / "work"


def vgg(
    folder: Path,
    *arguments: str,
    module: str = "",
    then: str = "pass",
    ignored: str = "",
    stdout: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    script = VGG.format(module=module, then=then, ignored=[ignored], notices=NAMES)
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=folder, text=True, stdout=stdout, stderr=-1)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, standard error)."""
    _, said = process.communicate(timeout=2 * SOON)
    return process.returncode, said


# Streams


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_left_is_no_error(folder: Path, command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = vgg(folder, *COMMANDS[command], stdout=writing)
    os.close(writing)
    status, said = ended(process)
    assert status == 0
    assert "Error" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_standard_output_is_one_line(folder: Path, command: str) -> None:
    with Path("/dev/full").open("w") as full:
        status, said = ended(vgg(folder, *COMMANDS[command], stdout=full.fileno()))
    assert status == 2
    wanted = "a file, a pipe or a terminal that can be written"
    assert said.splitlines()[-1] == f"vgg: standard output: got No space left on device, wanted {wanted}"
    assert "Traceback" not in said


@pytest.mark.parametrize("command", COMMANDS)
def test_without_standard_streams_a_command_does_its_work(folder: Path, command: str) -> None:
    script = VGG.format(module="", then="pass", ignored=[], notices=NAMES)
    line = 'exec "$0" -c "$1" "${@:2}" <&- >&- 2>&-'
    done = subprocess.run(["bash", "-c", line, sys.executable, script, *COMMANDS[command]], cwd=folder, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_an_encoding_without_the_characters_is_no_error(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    (folder / "tiny.toml").write_text(SPEC.replace("tiny", "t\N{LATIN SMALL LETTER I WITH DIAERESIS}ny \N{SNOWMAN}"))
    status, said = ended(vgg(folder, *COMMANDS[command]))
    assert (status, "Error" in said) == (0, False), said


# Signals

MODULES = ["vgg.cli", "vgg.core.spec", "argparse", "vgg.cli.parser", "vgg.api", "rich.console", "vgg.report.terminal"]
QUIET = (130, "vgg: interrupted\n")


@pytest.mark.parametrize("notice", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("module", MODULES)
def test_a_notice_while_modules_are_imported_is_answered_in_one_line(folder: Path, module: str, notice: str) -> None:
    assert ended(vgg(folder, "list", module=module, then=f"signal.raise_signal(signal.{notice})")) == QUIET


@pytest.mark.parametrize("notice", NAMES)
def test_a_notice_that_is_to_be_ignored_is(folder: Path, notice: str) -> None:
    then = f"signal.raise_signal(signal.{notice})"
    assert ended(vgg(folder, "list", module="vgg.report.terminal", then=then, ignored=notice)) == (0, "")


def test_ctrl_c_where_python_could_only_print_it_is_not_lost(folder: Path) -> None:
    dies = "type('Dying', (), {'__del__': lambda self: signal.raise_signal(signal.SIGINT)})()"
    then = f"{dies}; import time; time.sleep({SOON})"
    assert ended(vgg(folder, "list", module="vgg.report.terminal", then=then)) == QUIET


LONG = {
    "check": ("check", "oracle"),
    "check, side by side": ("check", "oracle", "second", "--jobs", "2"),
    "train": ("train", "oracle", "tiny.toml", "--epochs", "100000", "--out", "run"),
    "compare": ("compare", "oracle", "--arch", "tiny.toml", "--epochs", "100000", "--out", "run"),
}


@pytest.mark.parametrize(
    ("command", "notice"),
    [
        *itertools.product(("train",), NOTICES),
        *itertools.product(("compare",), NOTICES[:3]),
        ("check", signal.SIGINT),
        ("check, side by side", signal.SIGTERM),
    ],
)
def test_a_command_that_is_told_to_end_leaves_no_folder_and_no_process(
    folder: Path, command: str, notice: signal.Signals
) -> None:
    process = vgg(folder, *LONG[command])
    until(lambda: len(list((folder / "tmp").glob("vgg-*/printed"))) == (2 if "second" in LONG[command] else 1))
    until(lambda: bool(descendants(str(process.pid))))
    family = descendants(str(process.pid))
    process.send_signal(notice)
    status, said = ended(process)
    assert (status, "Traceback" in said) == (130, False), said
    assert said.splitlines()[-1].startswith("vgg: interrupted" if "check" in command else "vgg: ")
    until(lambda: not any(map(alive, family)))
    assert list((folder / "tmp").glob("vgg-*")) == []


@pytest.mark.parametrize("notice", NOTICES[:3])
def test_a_build_that_is_told_to_end_leaves_no_folder_and_no_process(
    folder: Path, notice: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        for name, value in {"UV_DEFAULT_INDEX": index, "UV_HTTP_TIMEOUT": "1000", "NO_PROXY": "127.0.0.1"}.items():
            monkeypatch.setenv(name, value)
        process = vgg(folder, "train", "locked", "tiny.toml", "--out", "run")
        silent.settimeout(SOON)
        asking, _ = silent.accept()
        family = descendants(str(process.pid))
        assert family
        process.send_signal(notice)
        status, said = ended(process)
        asking.close()  # uv asked for the package, and got no answer
    assert (status, said.splitlines()[-1], "Traceback" in said) == (130, "vgg: interrupted", False)
    until(lambda: not any(map(alive, family)))
    assert list((folder / "tmp").glob("vgg-*")) == []
    assert [path.suffix for path in (folder / "cache" / "vgg" / "envs").iterdir()] == [".lock"]


def until(ready: Callable[[], bool]) -> None:
    """Wait until that is so."""
    deadline = time.monotonic() + SOON
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def descendants(process: str) -> list[str]:
    """All processes that a process started, and that these started."""
    tasks = list(Path("/proc", process, "task").glob("*/children"))
    children = [child for task in tasks for child in task.read_text().split()]
    return [one for child in children for one in (child, *descendants(child))]


def alive(process: str) -> bool:
    """Not so where it has ended and nobody has asked how."""
    try:
        return Path("/proc", process, "cmdline").read_bytes() != b""
    except OSError:
        return False
