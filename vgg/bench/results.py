"""What the raw seconds mean: medians, spreads, images/s, shares of the ceiling, ratios; and a regression."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ..errors import VGGError, mismatch

ENOUGH = 3
"""Rounds that a comparison needs."""
LEAST = 0.03
"""Of a figure: a change that is smaller is never called a regression."""


class Measured(NamedTuple):
    """A median of several, and half of what lies between the smallest and the largest, as a share of it."""

    value: float
    spread: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.spread * 100:.0f}%"


def measured(values: Sequence[float]) -> Measured:
    """Of at least one value."""
    middle = median(values)
    return Measured(middle, (max(values) - min(values)) / 2 / middle)


def images_per_second(workload: Mapping[str, Any], contender: Mapping[str, Any], phase: str) -> Measured:
    """Of one contender."""
    return measured([workload["batch"] / seconds for seconds in contender[phase]])


def share(workload: Mapping[str, Any], backend: Mapping[str, Any], kind: str, phase: str) -> Measured:
    """Of the ceiling's FLOP/s in the same round; a training step counts as three times the forward MACs."""
    work = 2 * workload["macs"] * workload["batch"] * (3 if phase == "train" else 1)
    rounds = zip(backend["contenders"][kind][phase], backend["ceiling"], strict=True)
    return measured([work / seconds / rates["flops"] for seconds, rates in rounds])


def ratio(backend: Mapping[str, Any], kind: str, phase: str) -> Measured | None:
    """How many times as fast as the contender of that kind ours is, round by round; None where there is none."""
    other, ours = backend["contenders"].get(kind, {}), backend["contenders"]["vgg"]
    if phase not in other or phase not in ours:
        return None
    return measured([theirs / own for theirs, own in zip(other[phase], ours[phase], strict=True)])


def mean(values: Sequence[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values))


def ok(result: Mapping[str, Any]) -> bool:
    """Whether everything could be timed, and computes what it should."""
    return all("error" not in found and found["parity"]["ok"] for *_, found in contenders(result))


def contenders(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(workload, backend, kind, what was found) of all."""
    for name, workload in result["workloads"].items():
        for backend, column in workload["backends"].items():
            for kind, found in column["contenders"].items():
                yield name, backend, kind, found


def read(path: Path) -> dict[str, Any]:
    """A result of ``vgg bench``; ``VGGError`` where the file holds none."""
    try:
        result = json.loads(path.read_text())
        dict(_shares(result))
        _conditions(result)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise VGGError(f"{path}: not a result of vgg bench ({type(error).__name__}: {error})") from error
    return dict(result)


def check_conditions(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """``VGGError`` where two results say nothing about each other."""
    if _conditions(old) != _conditions(new):
        raise mismatch("--compare", f"a result of {_conditions(old)}", f"one of {_conditions(new)}")
    rounds = min(old["rounds"], new["rounds"])
    if rounds < ENOUGH:
        raise mismatch("--compare", f"{rounds} rounds", f"{ENOUGH} or more in both: fewer measure no noise")


def regressions(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where ours takes a smaller share of the ceiling than in ``old`` by more than both spreads together.

    Shares, since a machine that is busier today is slower in both. ``VGGError`` where the two cannot be compared.
    """
    check_conditions(old, new)
    before, after = dict(_shares(old)), dict(_shares(new))
    if not before.keys() & after.keys():
        raise mismatch("--compare", "a result with nothing in common", "one of the same workloads, batches, backends")
    return [_worse(key, before[key], after[key]) for key in after if _is_worse(before.get(key), after[key])]


def _is_worse(before: Measured | None, after: Measured) -> bool:
    if before is None:
        return False
    return after.value < before.value * (1 - max(LEAST, before.spread + after.spread))


def _worse(key: tuple[str, ...], before: Measured, after: Measured) -> str:
    return f"{' '.join(key)}: {after} of the ceiling, was {before}"


def _shares(result: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Measured]]:
    for name, workload in result["workloads"].items():
        for backend, column in workload["backends"].items():
            for phase in ("train", "infer"):
                if phase in column["contenders"]["vgg"]:
                    yield (name, f"batch {workload['batch']}", backend, phase), share(workload, column, "vgg", phase)


def _conditions(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return f"{result['device']}, {result['precision']}, {machine['cores']} cores of {machine['cpu']}"
