"""The tables of ``vgg bench``, for terminal and documents alike."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from ..timing import results
from ..timing.results import PHASES
from ..timing.workloads import KINDS
from .rows import size

COSTS = ("first_step_seconds", "ready_seconds", "peak_bytes")
OF_CEILING = "of the ceiling"


class Table(NamedTuple):
    """Words in rows; the first column names them."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Speed of every workload and phase; the ceiling; what starting takes; ourselves."""
    found = []
    for name, workload in result["workloads"].items():
        title = f"{name}, {'x'.join(map(str, workload['spec']['input_shape']))}, batch {workload['batch']}"
        phases = [p for p in PHASES if any(p in c["contenders"]["vgg"] for c in workload["backends"].values())]
        found += [_speed(f"{title}: {PHASES[phase]}", workload, phase) for phase in phases or ["train"]]
        found.append(_overall(f"{title}: over the frameworks", workload, phases))
        found += [_ceiling(f"{title}: the ceiling", workload)] * results.computes(workload)
        found.append(_costs(f"{title}: start and memory", workload))
    found += [_ourselves(result["ourselves"])] if "ourselves" in result else []
    return [table for table in found if table.rows]


def _speed(title: str, workload: Mapping[str, Any], phase: str) -> Table:
    rows = []
    for backend, column in workload["backends"].items():
        ours = column["contenders"]["vgg"]
        if phase not in ours:
            rows.append([backend, f"failed: {ours['error'].splitlines()[0]}", *[""] * 4])
            continue
        rate, part = results.images_per_second(workload, ours, phase), results.share(workload, column, "vgg", phase)
        ratios = [_ratio(column, kind, phase) for kind in ("textbook", "zoo")]
        rows.append([backend, f"{rate.value:.1f} ± {rate.spread:.0%}", str(part), *ratios, _parity(ours["parity"])])
    table = Table(title, ["", "images/s", OF_CEILING, "x textbook", "x zoo", "parity"], rows)
    return table if results.computes(workload) else _without(table, OF_CEILING)


def _overall(title: str, workload: Mapping[str, Any], phases: list[str]) -> Table:
    """What those that are right have in common; the slowest by share of the ceiling, measured in the same rounds."""
    rows = []
    for phase in phases:
        columns = [c for c in workload["backends"].values() if results.right(c["contenders"]["vgg"], phase)]
        shares = [results.share(workload, column, "vgg", phase).value for column in columns]
        if shares:
            cells = [f"{results.mean(shares):.2f}", f"{max(shares) / min(shares):.2f}"]
            rows.append([PHASES[phase], *cells, *(_beside(columns, kind, phase) for kind in ("textbook", "zoo"))])
    mean = f"{OF_CEILING}, geometric mean"
    heads = ["", mean, "fastest to slowest", "x textbook, geometric mean", "x zoo, geometric mean"]
    table = Table(title, heads, rows)
    return table if results.computes(workload) else _without(table, mean)


def _beside(columns: list[Mapping[str, Any]], kind: str, phase: str) -> str:
    right = [c for c in columns if results.right(c["contenders"].get(kind, {}), phase)]
    ratios = [found.value for c in right if (found := results.ratio(c, kind, phase))]
    return f"{results.mean(ratios):.2f} of {len(ratios)}, least {min(ratios):.2f}" if ratios else "-"


def _without(table: Table, head: str) -> Table:
    """The table less that column."""
    at = table.columns.index(head)
    columns, *rows = ([*row[:at], *row[at + 1 :]] for row in (table.columns, *table.rows))
    return Table(table.title, columns, rows)


def _ceiling(title: str, workload: Mapping[str, Any]) -> Table:
    """The rates reached beside each backend, in the rounds that its shares are taken of."""
    rows = [
        [backend, *(_rate([rates[what] for rates in column["ceiling"]]) for what in ("flops", "bytes"))]
        for backend, column in workload["backends"].items()
    ]
    return Table(title, ["", "GFLOP/s", "GB/s read and written"], rows)


def _rate(rates: list[float]) -> str:
    if not rates:
        return "-"
    found = results.measured(rates)
    return f"{found.value / 1e9:.0f} ± {found.spread:.0%}"


def _ratio(column: Mapping[str, Any], kind: str, phase: str) -> str:
    other, found = column["contenders"].get(kind), results.ratio(column, kind, phase)
    if other is None:
        return "-"
    if found is None:
        return "failed"
    return f"{found.value:.2f} ± {found.spread:.0%}" + ("" if other["parity"]["ok"] else " (WRONG)")


def _parity(found: Mapping[str, Any]) -> str:
    verdicts = {what: found[what] for what in ("logits", "gradients") if what in found}
    told = (f"{what} {v['error']:.0e} of {v['limit']:.0e}" for what, v in verdicts.items() if not v["reason"])
    reasons = (f"WRONG: {v['reason']}" for v in verdicts.values() if v["reason"])
    return ", ".join([*told, *reasons])


def _costs(title: str, workload: Mapping[str, Any]) -> Table:
    rows = []
    for backend, column in workload["backends"].items():
        made = column["contenders"]
        cells = [" / ".join(_cost(made.get(kind), what) for kind in KINDS) for what in COSTS]
        loading = made["vgg"].get("load_seconds")
        rows.append([backend, *cells, f"{loading:.2f} s" if loading else ""])
    kinds = " / ".join(KINDS)
    heads = [f"{what}, {kinds}" for what in ("first step", "start to first step", "peak memory")]
    return Table(title, ["", *heads, "weights loaded in"], rows)


def _cost(found: Mapping[str, Any] | None, what: str) -> str:
    if not found:
        return "-"
    if "error" in found:
        return "failed"
    if what == "peak_bytes":
        return size(found.get("gpu_peak_bytes") or found["peak_bytes"])
    return f"{found[what]:.1f} s"


def _ourselves(found: Mapping[str, Any]) -> Table:
    seconds = found["seconds"]
    pairs = {"import vgg": ("vgg", "numpy", "import numpy"), "vgg show vgg16": ("show", "nothing", "starting Python")}
    rows = [
        *(
            [f"{what}, beyond {than}", _beyond(seconds[one], seconds[other])]
            for what, (one, other, than) in pairs.items()
        ),
        ["frameworks imported by either", ", ".join(found["imported"]) or "none"],
    ]
    rows += [[f"seam's share of vgg train {backend}", _part(part)] for backend, part in found["seam"].items()]
    return Table("vgg itself", ["", ""], rows)


def _beyond(one: list[float], other: list[float]) -> str:
    differences = [a - b for a, b in zip(one, other, strict=True)]
    return f"{median(differences) * 1000:.0f} ms"


def _part(found: float | dict[str, str]) -> str:
    return f"{found:.2%}" if isinstance(found, float) else f"failed: {found['error'].splitlines()[0]}"
