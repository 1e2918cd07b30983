"""Runs that are killed or interrupted, from outside, and go on: every backend, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from killing.chains import Chain
from killing.game import Table
from killing.lives import Aim
from safetensors.numpy import load_file

from vgg.process import registry

TESTS = Path(__file__).parent
SPEC = 'name = "tiny"\nblocks = [[1, 3], [1, 4]]\ninput_shape = [1, 8, 8]\nclasses = 10\nhead = {hidden = [8]}\n'
VGG = """
import signal, sys
from vgg.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""
"""``vgg``, which heeds Ctrl-C also where what runs the tests has its background jobs ignore it."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("backend", registry.own_names())
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(backend: str, tmp_path: Path) -> None:
    chain = Chain(backend, Table(0, tmp_path, os.environ.get("PYTHONPATH", "")))
    assert chain.play(Aim("step", "worker", "SIGKILL")).hit
    assert chain.play(Aim("step", "worker", "SIGSTOP SIGCONT")).status == 0
    assert (chain.ended, chain.errors) == (1, [])


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``vgg`` in a process of its own that knows the oracle as a plug-in, in an empty directory."""
    info = tmp_path / "plugins" / "vgg_plugins-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vgg-plugins\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[vgg.backends]\noracle = vgg_oracle\n")
    (tmp_path / "tiny.toml").write_text(SPEC)
    path = os.pathsep.join(map(str, (tmp_path / "plugins", TESTS / "plugin_backend")))

    def started(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", VGG, *arguments]
        environ = {**os.environ, "PYTHONPATH": path}
        return subprocess.Popen(command, cwd=tmp_path, env=environ, text=True, stdout=-1, stderr=-1)

    return started


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, standard error)."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def under_way(run: Path, steps: int) -> None:
    """Wait until the run has taken so many steps."""
    metrics = run / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < steps:
        time.sleep(0.01)


def alive(process: str) -> bool:
    """Not so where it has ended and nobody has asked how."""
    try:
        return Path("/proc", process, "cmdline").read_bytes() != b""
    except OSError:
        return False


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in row]


def test_a_run_whose_command_was_killed_goes_on(start: Start, tmp_path: Path) -> None:
    job = ("train", "oracle", "tiny.toml", "--epochs", "2", "--every", "1")
    process = start(*job, "--out", "run")
    under_way(tmp_path / "run", 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    deadline = time.monotonic() + 120
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, children))
    assert ended(start("train", "--resume", "run"))[0] == 0
    assert ended(start(*job, "--out", "undisturbed"))[0] == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("notice", "backend", "options"),
    [
        (signal.SIGINT, "oracle", ()),
        (signal.SIGTERM, "oracle", ()),
        *(
            (signal.SIGINT, name, ("--replicas", "2", "--batch-size", "8", "--deterministic"))
            for name in registry.own_names()
        ),
    ],
)
def test_an_interrupted_run_writes_a_checkpoint_says_how_to_go_on_and_does(
    start: Start, tmp_path: Path, notice: signal.Signals, backend: str, options: tuple[str, ...]
) -> None:
    job = ("train", backend, "tiny.toml", "--epochs", "2", *options)
    process = start(*job, "--out", "run")
    under_way(tmp_path / "run", 5)
    process.send_signal(notice)
    status, said = ended(process)
    assert status == 130
    assert said.splitlines()[-1].startswith("vgg: stopped before epoch ")
    assert said.splitlines()[-1].endswith("; go on with: vgg train --resume run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) > 0
    assert ended(start("train", "--resume", "run"))[0] == 0
    assert ended(start(*job, "--out", "undisturbed"))[0] == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "undisturbed")
    for run in ("run", "undisturbed"):
        told = json.loads((tmp_path / run / "run.json").read_text())
        assert told["deterministic"] is ("--deterministic" in options)
        assert told["replicas"] == told["facts"]["replicas"] == (2 if "--replicas" in options else 1)
    ends = [load_file(tmp_path / name / "weights.safetensors") for name in ("run", "undisturbed")]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[1])
