"""Statistics of raw seconds: medians, spreads, images/s, shares of the ceiling, ratios; failures and regressions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from ..core.errors import mismatch, within
from ..core.files import read_object
from ..process.documents import DO
from . import document

ENOUGH = 3
"""The least number of rounds for a comparison."""
LEAST = 0.03
"""The least relative change of a figure that may be called a regression."""
BEYOND = 3.0
"""The least change that may be called a regression, in standard errors of the difference."""
PHASES = {"train": "training", "infer": "inference"}
_Cell = tuple[str, str, str]


class Measured(NamedTuple):
    """A median of several values, and half of their range as a share of it."""

    value: float
    spread: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.spread * 100:.0f}%"


def measured(values: Sequence[float]) -> Measured:
    """Return the median and the spread of at least one value."""
    middle = median(values)
    return Measured(middle, (max(values) - min(values)) / 2 / middle)


def images_per_second(workload: Mapping[str, Any], contender: Mapping[str, Any], phase: str) -> Measured:
    """Return a contender's images per second in a phase."""
    return measured([workload["batch"] / seconds for seconds in contender[phase]])


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the median of two or more values, as a share of it.

    It is computed from the quartiles, as for normal noise.
    """
    low, middle, high = quantiles(values, method="inclusive")
    return 0.93 * (high - low) / math.sqrt(len(values)) / middle


def share(workload: Mapping[str, Any], backend: Mapping[str, Any], kind: str, phase: str) -> Measured:
    """Return the share of the ceiling's FLOP/s in the same round; a training step counts as three forward passes."""
    return measured(_shares(workload, backend, kind, phase))


def _shares(workload: Mapping[str, Any], backend: Mapping[str, Any], kind: str, phase: str) -> list[float]:
    work = 2 * workload["macs"] * workload["batch"] * (3 if phase == "train" else 1)
    rounds = zip(backend["contenders"][kind][phase], backend["ceiling"], strict=True)
    return [work / seconds / rates["flops"] for seconds, rates in rounds]


def ratio(backend: Mapping[str, Any], kind: str, phase: str) -> Measured | None:
    """Return how many times as fast as the contender of that kind ours is, or None if either was not timed.

    It is the ratio of the medians, with the spread of the rounds' ratios.
    """
    other, ours = backend["contenders"].get(kind, {}), backend["contenders"]["vgg"]
    if phase not in other or phase not in ours:
        return None
    rounds = measured([theirs / own for theirs, own in zip(other[phase], ours[phase], strict=True)])
    return Measured(median(other[phase]) / median(ours[phase]), rounds.spread)


def mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def right(contender: Mapping[str, Any], phase: str = "train") -> bool:
    """Return whether the contender was timed in that phase and computes what it should."""
    return phase in contender and bool(contender["parity"]["ok"])


def computes(workload: Mapping[str, Any]) -> bool:
    """Return whether the workload spends its time in products, so that a share of their ceiling means something."""
    return bool(workload["macs"] > 1e6)


def failures(result: Mapping[str, Any]) -> list[str]:
    """Return a line for each contender that could not be timed or computes something wrong, and each wrong import."""
    reasons = [(" ".join(where), _failure(outcome)) for *where, outcome in contenders(result)]
    ourselves = result.get("ourselves", {"seam": {}, "imported": []})
    reasons += [
        (f"ourselves {name}", _failure(seam)) for name, seam in ourselves["seam"].items() if isinstance(seam, dict)
    ]
    reasons += [("ourselves", f"vgg show imports {name}") for name in ourselves["imported"]]
    return [f"{what} failed: {why}" for what, why in reasons if why]


def _failure(outcome: Mapping[str, Any]) -> str:
    if "error" in outcome:
        return str(outcome["error"])
    verdicts = [v for v in outcome["parity"].values() if isinstance(v, dict)]
    return "" if outcome["parity"]["ok"] else "; ".join(v["reason"] for v in verdicts if v["reason"]) or "wrong"


def ok(result: Mapping[str, Any]) -> bool:
    """Return whether everything was timed and computes what it should."""
    return not failures(result)


def contenders(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Yield (workload, backend, kind, results) of every contender."""
    for name, workload in result["workloads"].items():
        for backend, column in workload["backends"].items():
            for kind, outcome in column["contenders"].items():
                yield name, backend, kind, outcome


def read(path: Path) -> dict[str, Any]:
    """Read a result of ``vgg bench``; raise ``VGGError`` if the file is none."""
    return checked(path, read_object(path))


def checked(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result of ``vgg bench`` that was read from ``path``.

    Raises ``VGGError``, which names the file and the field, when it is none.
    """
    with within(path):
        document.check(result)
        if result["ok"] != ok(result):
            why = next(iter(failures(result)), "everything was timed and is right")
            raise mismatch("ok", str(result["ok"]).lower(), f"{str(ok(result)).lower()}, since {why}", DO)
    return result


def check_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ``VGGError`` if two results cannot be compared; ``new`` need not have timings yet."""
    if _conditions(old) != _conditions(new):
        raise mismatch("--compare", f"a result of {_conditions(old)}", f"one of {_conditions(new)}")
    rounds = min(old["rounds"], new["rounds"])
    if rounds < ENOUGH:
        raise mismatch("--compare", f"{rounds} rounds", f"{ENOUGH} or more in both: fewer measure no noise")
    timed = {cell for cell, (_, column) in _cells(old).items() if right(column["contenders"]["vgg"])}
    if not timed & _cells(new).keys():
        raise mismatch("--compare", "a result with nothing in common", "one of the same workloads, batches, backends")


def regressions(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a line for each share of the ceiling in which ours is lower than in ``old``, beyond the noise of both.

    Shares are compared because a busier machine slows both ours and the ceiling. Raise ``VGGError`` if the results
    cannot be compared.
    """
    check_comparable(old, new)
    before, after = _cells(old), _cells(new)
    common = [(cell, phase) for cell in after if cell in before for phase in PHASES]
    return [line for cell, phase in common if (line := _worse(cell, phase, before[cell], after[cell]))]


def _worse(cell: _Cell, phase: str, *both: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    if not all(right(column["contenders"]["vgg"], phase) for _, column in both):
        return ""
    before, after = (_shares(*timed, "vgg", phase) for timed in both)
    noise = BEYOND * math.hypot(standard_error(before), standard_error(after))
    was, now = measured(before), measured(after)
    worse = now.value < was.value * (1 - max(LEAST, noise))
    return f"{cell[0]} batch {both[0][0]['batch']} {cell[2]} {phase}: {now} of the ceiling, was {was}" if worse else ""


def _cells(result: Mapping[str, Any]) -> dict[_Cell, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return (workload, column of a backend) by (name, spec and batch, backend)."""
    return {
        (name, json.dumps([workload["spec"], workload["batch"]], sort_keys=True), backend): (workload, column)
        for name, workload in result["workloads"].items()
        for backend, column in workload["backends"].items()
    }


def _conditions(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    on = machine.get("gpus") if result["device"] == "gpu" else f"{machine['cores']} cores of {machine['cpu']}"
    return f"{result['device']}, {result['precision']}, {on}"
