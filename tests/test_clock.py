"""What a process takes, what a step takes, and where the system does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from vgg.training import clock as measuring
from vgg.training.clock import Step, speed


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


@pytest.mark.parametrize(
    ("steps", "rate", "compiling"),
    [
        ([Step(8, 5.0, True), *[Step(8, 2.0, False)] * 3], 4.0, 3.0),
        (
            [Step(1024, 3.0, True), Step(416, 0.1, True), *[Step(1024, 1.0, False), Step(416, 0.5, False)] * 3],
            960.0,
            1.93,
        ),
        ([Step(8, 5.0, True), *[Step(8, 2.0, False)] * 3, Step(8, 90.0, True), Step(8, 2.0, False)], 4.0, 3.0),
        ([Step(8, 5.0, True), Step(8, 2.0, False), Step(4, 31.0, True), Step(8, 2.0, False)], 4.0, 33.0),
        ([Step(8, 2.0, True)], 4.0, 0.0),
        ([Step(8, 2.0, True), Step(8, 2.0, False), Step(1, 0.1, True)], 4.0, 0.0),
    ],
    ids=["whole batches", "short batches", "a second process", "a size that compiles late", "one step", "no noise"],
)
def test_speed_is_images_by_time_and_compiling_is_what_first_steps_take_longer(
    steps: list[Step], rate: float, compiling: float
) -> None:
    figures = speed(steps, [])
    assert figures["images_per_second"] == pytest.approx(rate)
    assert figures["compile_seconds"] == pytest.approx(compiling, abs=0.005)
    assert figures["step_seconds"] == pytest.approx(steps[0].images / rate)


@pytest.mark.parametrize(("examples", "batch"), [(1440, 1024), (1440, 1439), (20, 8), (5, 8), (64, 64)])
def test_speed_agrees_with_what_is_measured_by_epoch(examples: int, batch: int) -> None:
    """For a device that takes the same time for every image."""
    sizes = [min(batch, examples - start) for start in range(0, examples, batch)]
    warm = [Step(size, size * 0.25, False) for size in sizes] * 3
    figures = speed([*(Step(size, size * 0.25 + 7, True) for size in sizes), *warm], [examples * 0.25] * 3)
    assert figures["images_per_second"] == pytest.approx(examples / (figures["epoch_seconds"] or 0))
    assert figures["compile_seconds"] == pytest.approx(7 * len(set(sizes)))
