"""Saboteurs are judged in processes of their own, beside all other tests: arithmetic on small arrays, for minutes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

Caught = dict[tuple[str, bool], "Future[list[str]]"]
"""(saboteur, whether by others) -> the checks that catch it, its own or the others, as far as one has to know."""


@pytest.fixture(scope="session", autouse=True)
def caught(request: pytest.FixtureRequest) -> Iterator[Caught]:
    """Begun with the first test, for the saboteurs that are asked for; they give way to whatever else runs."""
    from test_saboteurs import catching

    items = [item for item in request.session.items if item.path.name == "test_saboteurs.py"]
    wanted = [callspec.params for item in items if (callspec := getattr(item, "callspec", None))]
    asked = [(params["name"], params["by_others"]) for params in wanted if "name" in params]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        cores = max(1, (os.cpu_count() or 1) - 1)
        pool = ProcessPoolExecutor(
            cores, mp_context=multiprocessing.get_context("spawn"), initializer=os.nice, initargs=(10,)
        )
        futures = {key: pool.submit(catching, *key) for key in asked}
    yield futures
    pool.shutdown(cancel_futures=True)
