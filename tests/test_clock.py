"""What a process takes, and where the system does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from vgg.training import clock as measuring


def test_training_is_all_but_evaluation_and_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = measuring.Clock()
    for what, seconds in {"step": 3.0, "checkpoint": 1000.0, "evaluation": 100.0}.items():
        with clock.measure(what):
            now[0] += seconds
    now[0] += 5.0
    assert clock.training() == 8.0


def test_peak_memory_is_in_bytes_also_where_the_system_says_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    status.write_text("Name: python\nVmRSS: 12 kB\n")
    told = measuring.peak_bytes()
    monkeypatch.setattr(measuring, "STATUS", status)
    assert told / 10 < measuring.peak_bytes() < 10 * told
