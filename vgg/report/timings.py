"""The tables of ``vgg bench``, for the terminal and for documents."""

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
    """A table of texts; the first column names the rows."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a result: speed per workload and phase, ceilings, costs of starting, and vgg's own costs."""
    result_tables = []
    for name, workload in result["workloads"].items():
        title = f"{name}, {'x'.join(map(str, workload['spec']['input_shape']))}, batch {workload['batch']}"
        phases = [p for p in PHASES if any(p in c["contenders"]["vgg"] for c in workload["backends"].values())]
        result_tables += [_speed(f"{title}: {PHASES[phase]}", workload, phase) for phase in phases or ["train"]]
        result_tables.append(_overall(f"{title}: over the frameworks", workload, phases))
        result_tables += [_ceiling(f"{title}: the ceiling", workload)] * results.computes(workload)
        result_tables.append(_costs(f"{title}: start and memory", workload))
    result_tables += [_ourselves(result["ourselves"])] if "ourselves" in result else []
    return [table for table in result_tables if table.rows]


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
    """Return means over the frameworks whose results are right, and the ratio of the fastest to the slowest.

    The ratio compares shares of the ceiling, which were measured in the same rounds.
    """
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
    ratios = [ratio.value for c in right if (ratio := results.ratio(c, kind, phase))]
    return f"{results.mean(ratios):.2f} of {len(ratios)}, least {min(ratios):.2f}" if ratios else "-"


def _without(table: Table, head: str) -> Table:
    """Return ``table`` without the column ``head``."""
    index = table.columns.index(head)
    columns, *rows = ([*row[:index], *row[index + 1 :]] for row in (table.columns, *table.rows))
    return Table(table.title, columns, rows)


def _ceiling(title: str, workload: Mapping[str, Any]) -> Table:
    """Return the table of the rates that the machine reached in the rounds in which each backend was timed."""
    rows = [
        [backend, *(_rate([rates[what] for rates in column["ceiling"]]) for what in ("flops", "bytes"))]
        for backend, column in workload["backends"].items()
    ]
    return Table(title, ["", "GFLOP/s", "GB/s read and written"], rows)


def _rate(rates: list[float]) -> str:
    if not rates:
        return "-"
    rate = results.measured(rates)
    return f"{rate.value / 1e9:.0f} ± {rate.spread:.0%}"


def _ratio(column: Mapping[str, Any], kind: str, phase: str) -> str:
    other, ratio = column["contenders"].get(kind), results.ratio(column, kind, phase)
    if other is None:
        return "-"
    if ratio is None:
        return "failed"
    return f"{ratio.value:.2f} ± {ratio.spread:.0%}" + ("" if other["parity"]["ok"] else " (WRONG)")


def _parity(parity: Mapping[str, Any]) -> str:
    verdicts = {what: parity[what] for what in ("logits", "gradients") if what in parity}
    errors = (f"{what} {v['error']:.0e} of {v['limit']:.0e}" for what, v in verdicts.items() if not v["reason"])
    reasons = (f"WRONG: {v['reason']}" for v in verdicts.values() if v["reason"])
    return ", ".join([*errors, *reasons])


def _costs(title: str, workload: Mapping[str, Any]) -> Table:
    rows = []
    for backend, column in workload["backends"].items():
        contenders = column["contenders"]
        cells = [" / ".join(_cost(contenders.get(kind), what) for kind in KINDS) for what in COSTS]
        loading = contenders["vgg"].get("load_seconds")
        rows.append([backend, *cells, f"{loading:.2f} s" if loading else ""])
    kinds = " / ".join(KINDS)
    heads = [f"{what}, {kinds}" for what in ("first step", "start to first step", "peak memory")]
    return Table(title, ["", *heads, "weights loaded in"], rows)


def _cost(contender: Mapping[str, Any] | None, what: str) -> str:
    if not contender:
        return "-"
    if "error" in contender:
        return "failed"
    if what == "peak_bytes":
        return size(contender.get("gpu_peak_bytes") or contender["peak_bytes"])
    return f"{contender[what]:.1f} s"


def _ourselves(costs: Mapping[str, Any]) -> Table:
    seconds = costs["seconds"]
    pairs = {"import vgg": ("vgg", "numpy", "import numpy"), "vgg show vgg16": ("show", "nothing", "starting Python")}
    rows = [
        *(
            [f"{what}, beyond {than}", _beyond(seconds[one], seconds[other])]
            for what, (one, other, than) in pairs.items()
        ),
        ["frameworks imported by either", ", ".join(costs["imported"]) or "none"],
    ]
    rows += [[f"seam's share of vgg train {backend}", _part(part)] for backend, part in costs["seam"].items()]
    return Table("vgg itself", ["", ""], rows)


def _beyond(one: list[float], other: list[float]) -> str:
    differences = [a - b for a, b in zip(one, other, strict=True)]
    return f"{median(differences) * 1000:.0f} ms"


def _part(share: float | dict[str, str]) -> str:
    return f"failed: {share['error'].splitlines()[0]}" if isinstance(share, dict) else f"{share:.2%}"
