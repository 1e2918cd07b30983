"""The tables of ``vgg bench``, for terminal and documents alike."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from ..tables import size
from . import results
from .workloads import KINDS

COSTS = ("first_step_seconds", "ready_seconds", "peak_bytes")
PHASES = {"train": "training", "infer": "inference"}


class Table(NamedTuple):
    """Words in rows; the first column names them."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Speed of every workload and phase; what starting takes; ourselves."""
    found = []
    for name, workload in result["workloads"].items():
        title = f"{name}, {'x'.join(map(str, workload['spec']['input_shape']))}, batch {workload['batch']}"
        phases = [p for p in PHASES if any(p in c["contenders"]["vgg"] for c in workload["backends"].values())]
        found += [_speed(f"{title}: {PHASES[phase]}", workload, phase) for phase in phases]
        found += [_overall(f"{title}: over the frameworks", workload, phases)]
        found.append(_costs(f"{title}: start and memory", workload))
    return [*found, *([_ourselves(result["ourselves"])] if "ourselves" in result else [])]


def _speed(title: str, workload: Mapping[str, Any], phase: str) -> Table:
    rows = []
    for backend, column in workload["backends"].items():
        ours = column["contenders"]["vgg"]
        if phase not in ours:
            rows.append([backend, f"failed: {ours['error'].splitlines()[0]}", *[""] * 4])
            continue
        rate, part = results.images_per_second(workload, ours, phase), results.share(workload, column, "vgg", phase)
        ratios = [_ratio(column, kind, phase) for kind in ("textbook", "zoo")]
        speed = f"{rate.value:.1f} ± {rate.spread:.0%}"
        rows.append([backend, speed, f"{part.value:.2f} ± {part.spread:.0%}", *ratios, _parity(ours["parity"])])
    return Table(title, ["", "images/s", "of the ceiling", "x textbook", "x zoo", "parity"], rows)


def _overall(title: str, workload: Mapping[str, Any], phases: list[str]) -> Table:
    """What they have in common; the slowest by share of the ceiling, which was measured in the same rounds."""
    rows = []
    for phase in phases:
        columns = [c for c in workload["backends"].values() if phase in c["contenders"]["vgg"]]
        shares = [results.share(workload, column, "vgg", phase).value for column in columns]
        cells = [f"{results.mean(shares):.2f}", f"{max(shares) / min(shares):.2f}"]
        for kind in ("textbook", "zoo"):
            right = [c for c in columns if c["contenders"].get(kind, {}).get("parity", {}).get("ok")]
            ratios = [found.value for c in right if (found := results.ratio(c, kind, phase))]
            cells += [f"{results.mean(ratios):.2f} of {len(ratios)}, least {min(ratios):.2f}" if ratios else "-"]
        rows.append([PHASES[phase], *cells])
    heads = [
        "of the ceiling, geometric mean",
        "fastest to slowest",
        "x textbook, geometric mean",
        "x zoo, geometric mean",
    ]
    return Table(title, ["", *heads], rows)


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
        made = {kind: found for kind, found in column["contenders"].items() if "error" not in found}
        cells = [" / ".join(_cost(made.get(kind), what) for kind in KINDS) for what in COSTS]
        loading = made.get("vgg", {}).get("load_seconds")
        rows.append([backend, *cells, f"{loading:.2f} s" if loading else ""])
    kinds = " / ".join(KINDS)
    heads = [f"{what}, {kinds}" for what in ("first step", "start to first step", "peak memory")]
    return Table(title, ["", *heads, "weights loaded in"], rows)


def _cost(found: Mapping[str, Any] | None, what: str) -> str:
    if not found:
        return "-"
    return size(found[what]) if what == "peak_bytes" else f"{found[what]:.1f} s"


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
