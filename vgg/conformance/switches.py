"""Gradients of real nets in float32.

If one ReLU or max-pool in millions switches, gradients jump by more than any sum rounds. So the oracle uses the
backend's own signs and winners, which its trace shows, and the limit stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..core import oracle
from ..core.comparator import Verdict, forward_limit
from ..core.layers import Layer, expand
from ..core.oracle import Tape
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Arrays, Case
from .checks import answers, built, differentiated, mode_of, taped
from .exact import windows


def switches(worker: Jobs, case: Case, dtype: str, train: bool) -> Verdict:
    """Judge the loss and every gradient against the oracle with the backend's signs and winners.

    These may differ from the oracle's own only where rounding explains it.
    """
    x, y = built(worker, case, dtype), case.labels()
    traced = worker.trace(x, train=train)
    mode, chosen = mode_of(worker, case, traced, train), choices(case.spec, traced)
    tape = taped(case, dtype, mode)
    explained = rounded(case.spec, dtype, chosen, tape)
    if not explained.ok:
        return explained
    if explained.error:
        wanted = oracle.backward(case.spec, case.params(dtype), switched(tape, chosen), y)
    else:
        wanted = answers(case, dtype, mode)
    return differentiated(case, dtype, worker.loss_and_grads(x, y, train=train), *wanted)


def choices(spec: Spec, traced: Arrays) -> Arrays:
    """Return where each ReLU of a trace is open, and which tap each max-pool chooses: the first of equal ones."""
    chosen = {}
    for before, row in pairwise(expand(spec)):
        if row.kind == "relu":
            chosen[row.name] = traced[row.name] > 0
        elif row.kind == "max_pool":
            chosen[row.name] = np.argmax(windows(row, traced[before.name]), axis=0)
    return chosen


def switched(tape: Tape, chosen: Arrays) -> Tape:
    """Return the oracle's tape with those signs and winners, and with its own activations."""
    saved = dict(tape.saved)
    for name, choice in chosen.items():
        saved[name] = (choice, saved[name][1]) if isinstance(saved[name], tuple) else choice
    return replace(tape, saved=saved)


def rounded(spec: Spec, dtype: str, chosen: Arrays, tape: Tape) -> Verdict:
    """Judge whether rounding explains each choice that is not the oracle's own.

    There the oracle's value must be as near to the switching point as values of that trace may be off, in units of the
    layer's root mean square.
    """
    limit = forward_limit(spec, dtype)
    worst = Verdict(0.0, limit)
    for before, row in pairwise(expand(spec)):
        if row.name not in chosen:
            continue
        x = tape.activations[before.name]
        error = float(_distance(row, x, chosen[row.name]).max() / np.sqrt(np.mean(x * x)))
        if not error <= limit:
            reason = f"{row.name}: chooses otherwise than the oracle, whose value is {error:.1e} from the switch"
            return Verdict(error, limit, row.name, f"{reason}, limit {limit:.1e}")
        worst = max(worst, Verdict(error, limit, row.name), key=lambda verdict: verdict.error)
    return worst


def _distance(row: Layer, x: Array, choice: Array) -> Array:
    """Return how far the input must move for ``choice`` to be right; in a pool each of two values moves half."""
    if row.kind == "relu":
        wrong: Array = np.abs(x) * (choice != (x > 0))
        return wrong
    values = np.array(windows(row, x))
    chosen: Array = np.take_along_axis(values, choice[None], axis=0)[0]
    half: Array = (values.max(axis=0) - chosen) / 2
    return half
