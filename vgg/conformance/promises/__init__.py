"""What a backend promises beyond its numbers: who owns an array, and that other models, threads and mistakes change
nothing. Promises are judged inside the backend's process, because everything that crosses a process boundary is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import company, learners, models
from .stage import BrokenError, Stage

__all__ = ["PROMISES", "BrokenError", "Promise", "Stage"]


class Promise(NamedTuple):
    """A promise.

    ``judge`` judges it in a dtype and raises ``BrokenError`` if it is broken. Backends that claim ``level`` must keep
    it. ``both``: it is about models of both dtypes side by side.
    """

    judge: Callable[[Stage, str], None]
    level: str
    both: bool = False


PROMISES = {
    "dump": Promise(models.dump, "inference"),
    "load": Promise(models.load, "inference"),
    "forward": Promise(models.forward, "inference"),
    "trace": Promise(models.trace, "inference"),
    "loss_and_grads": Promise(models.loss_and_grads, "gradients"),
    "models": Promise(company.models, "inference", both=True),
    "refusals": Promise(models.refusals, "inference"),
    "labels": Promise(models.labels, "gradients"),
    "state": Promise(learners.state, "training"),
    "restore": Promise(learners.restore, "training"),
    "evaluate": Promise(learners.evaluate, "training"),
    "step": Promise(learners.step, "training"),
    "model": Promise(learners.model, "training"),
    "mistakes": Promise(learners.mistakes, "training"),
    "learners": Promise(company.learners, "training", both=True),
    "threads": Promise(company.threads, "training"),
    "generators": Promise(company.generators, "training"),
}
"""The promises by name, in the order of the matrix."""
