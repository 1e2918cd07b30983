"""The file of ``vgg bench``: every field that a table or a figure is made of is checked before any of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from ..core import limits
from ..core.errors import mismatch
from ..core.texts import one_line
from ..process.documents import DO, Origin, check_numbers, converted, read_spec
from ..process.schema import Count, Place

Number = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=1e-9, le=1e9)]
"""A time that a clock can measure."""
Rate = Annotated[float, Meta(ge=1, le=1e30)]
Error = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0)]


class _Result(Origin, kw_only=True):
    device: Place
    precision: str
    rounds: Number
    ok: bool
    workloads: Annotated[dict[str, Any], Meta(min_length=1)]
    regressions: list[str] = field(default_factory=list)


class _Spec(Struct):
    input_shape: list[Number]


class _Workload(Struct):
    spec: _Spec
    batch: Annotated[int, Meta(ge=1, le=limits.BATCH)]
    macs: Number
    backends: Annotated[dict[str, Any], Meta(min_length=1)]


class _Ceiling(Struct):
    flops: Rate
    bytes: Rate


class _Column(Struct):
    contenders: dict[str, Any]
    ceiling: list[_Ceiling]


class _Failed(Struct):
    error: Annotated[str, Meta(min_length=1)]


class _Contender(Struct):
    train: list[Seconds]
    parity: dict[str, Any]
    first_step_seconds: Seconds
    ready_seconds: Seconds
    peak_bytes: Count
    infer: list[Seconds] | None = None
    gpu_peak_bytes: Count = 0
    load_seconds: Seconds | None = None


class _Parity(Struct):
    error: Error | None
    limit: Error
    reason: str


class _Verdict(Struct):
    ok: bool


class _Ourselves(Struct):
    seconds: dict[str, list[Seconds]]
    imported: list[str]
    seam: dict[str, Any]


def check(result: Mapping[str, Any]) -> None:
    """Raise ``VGGError``, which names the field, when ``result`` is not of ``vgg bench``, or denies itself."""
    check_numbers(result)
    contents = converted(result, _Result)
    for name, value in contents.workloads.items():
        where = f"workloads.{one_line(name)}"
        workload = converted(value, _Workload, where)
        read_spec(value["spec"], f"{where}.spec")
        for backend, column in workload.backends.items():
            _check_column(f"{where}.backends.{one_line(backend)}", column, contents.rounds)
    if "ourselves" in result:
        _check_ourselves(result["ourselves"])


def _check_column(where: str, value: Any, rounds: int) -> None:
    """Raise ``VGGError`` unless everything in a backend's column was timed in the same phases and rounds, or failed."""
    column = converted(value, _Column, where)
    phases = dict[str, set[str]]()
    for kind, outcome in column.contenders.items():
        part = f"{where}.contenders.{one_line(kind)}"
        if isinstance(outcome, dict) and "error" in outcome:
            converted(outcome, _Failed, part)
        else:
            phases[kind] = _check_contender(part, outcome, rounds)
    if "vgg" not in column.contenders:
        raise mismatch(f"{where}.contenders", "no vgg", "vgg among them", DO)
    ours = phases.get("vgg")
    for kind, theirs in phases.items():
        if ours is not None and theirs != ours:
            raise mismatch(f"{where}.contenders.{one_line(kind)}", _listed(theirs), f"{_listed(ours)}, as vgg", DO)
    if ours is not None:
        _check_count(f"{where}.ceiling", column.ceiling, rounds)


def _check_contender(where: str, value: Any, rounds: int) -> set[str]:
    """Return the phases in which a contender was timed. Raises ``VGGError`` when it was not, or its parity is none."""
    contender = converted(value, _Contender, where)
    for phase, seconds in _phases(contender):
        _check_count(f"{where}.{phase}", seconds, rounds)
    _check_parity(f"{where}.parity", contender.parity)
    return {phase for phase, _ in _phases(contender)}


def _phases(contender: _Contender) -> Iterator[tuple[str, list[float]]]:
    yield "train", contender.train
    if contender.infer is not None:
        yield "infer", contender.infer


def _check_count(where: str, values: list[Any], rounds: int) -> None:
    if len(values) != rounds:
        raise mismatch(where, f"{len(values)} numbers", f"{rounds}, one per round", DO)


def _check_parity(where: str, parity: dict[str, Any]) -> None:
    """Raise ``VGGError`` unless ``ok`` is what the errors and their limits say."""
    ok = converted(parity, _Verdict, where).ok
    right = []
    for what in parity.keys() - {"ok"}:
        one = converted(parity[what], _Parity, f"{where}.{one_line(what)}")
        right.append(not one.reason and one.error is not None and one.error <= one.limit)
    if ok != (all(right) and bool(right)):
        raise mismatch(f"{where}.ok", str(ok).lower(), "what the errors and their limits say", DO)


def _check_ourselves(value: Any) -> None:
    """Raise ``VGGError`` unless the costs of vgg itself are those of the same number of starts each."""
    costs = converted(value, _Ourselves, "ourselves")
    for one, other in (("vgg", "numpy"), ("show", "nothing")):
        for name in (one, other):
            if name not in costs.seconds:
                raise mismatch(f"ourselves.seconds.{name}", "nothing", "a list of numbers", DO)
        if not costs.seconds[one] or len(costs.seconds[one]) != len(costs.seconds[other]):
            got, wanted = len(costs.seconds[one]), len(costs.seconds[other])
            raise mismatch(f"ourselves.seconds.{one}", f"{got} numbers", f"{wanted or 'some'}, as of {other}", DO)
    for backend, share in costs.seam.items():
        converted(share, _Failed if isinstance(share, dict) else Share, f"ourselves.seam.{one_line(backend)}")


def _listed(phases: set[str]) -> str:
    return ", ".join(sorted(phases))
