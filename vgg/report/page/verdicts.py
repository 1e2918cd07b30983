"""What a comparison says, in sentences: whether it is one network, where the worst error is, and who is fastest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..rows import fixed, percent
from . import errors
from .palette import error, listed


class Verdict(NamedTuple):
    """One or two words, whether they are good news (None: nothing was judged), and the sentences below them."""

    word: str
    good: bool | None
    sentences: list[str]


def verdict(result: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """Return the verdict on a comparison or on runs. ``columns`` are those that did not fail."""
    failed, left = [name for name in result["backends"] if name not in columns], _unfinished(result)
    proven = {name: column for name, column in columns.items() if "ok" in column}
    different = [name for name, column in proven.items() if not column["ok"]]
    lost = [name for name in failures(result) if name not in failed]
    sentences = [f"{listed([*failed, *lost])} failed; the reason is below."] * bool(failed or lost) + left
    sentences += [
        f"{name}: {column['reason'] or 'the structure differs'}." for name, column in proven.items() if not column["ok"]
    ]
    if not proven:
        word = "Trained" if columns else "Failed"
        return Verdict(word, False if failed else None, [*sentences, *([ALONE] if columns else [])])
    whole = not failed and not different
    if whole:
        agree = "agrees" if len(proven) == 1 else "agree"
        sentences.append(f"{listed(proven)} {agree} with the float64 oracle in every layer and every gradient.")
    others = [name for name in columns if name not in proven]
    sentences += [f"{listed(others)} was trained by vgg train, which proves nothing."] * bool(others)
    word, good = ("Unfinished", None) if whole and left else ("One network" if whole else "Not one network", whole)
    return Verdict(word, None if whole and lost else good, [*sentences, *_worst(proven)])


def failures(result: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{backend, or backend and seed: reason}`` of what has failed."""
    reasons = dict[str, str]()
    for name, column in result["backends"].items():
        reasons |= {name: column["error"]} if "error" in column else {}
        later = {} if "error" in column else column.get("failures", {})
        reasons |= {f"{name} with seed {seed}": error for seed, error in later.items()}
    return reasons


def _unfinished(result: Mapping[str, Any]) -> list[str]:
    """Return a sentence about the runs of a comparison that are still to be trained, if there are any."""
    columns = result["backends"]
    if "options" not in result or not all("runs" in column for column in columns.values()):
        return []
    wanted = len(result["options"]["backends"]) * len(result["seeds"])
    done = sum(len(column["runs"]) for column in columns.values())
    lost = sum(len(column["failures"]) for column in columns.values())
    return [f"{done} of {wanted} runs are finished; vgg compare --resume goes on."] * (done + lost < wanted)


APART = "Speeds of several results are not ranked: they were not measured in turn, perhaps not on one machine."
ALONE = "One run proves nothing about other backends: vgg compare does."


def _worst(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    worst = errors.worst(columns)
    if worst is None:
        return []
    name, where, value, limit = worst
    if value is None:
        return [f"The worst error is over its limit, in {name} at {where}."]
    what = "gradient of " if where.endswith((".weight", ".bias")) else ""
    times = f"{limit / value:,.0f} times below the limit" if 0 < value < limit else f"the limit is {error(limit)}"
    return [f"The worst error is {error(value)}, {times}: {name}, {what}{where}."]


def fastest(result: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Return who trains fastest, by how much and with which interval, or why that cannot be said."""
    rates = {name: _rate(column) for name, column in columns.items() if _rate(column)}
    if len(rates) < 2 or "sources" in result:
        return APART if len(rates) > 1 else ""
    first, second = sorted(rates, key=lambda name: -rates[name])[:2]
    pair = _pair(result, first, second)
    one, two = fixed(rates[first], 0), fixed(rates[second], 0)
    lead = f"{first} trains fastest, at {one} images/s; {second} is next with {two}."
    if pair and len(result["seeds"]) > 1 and pair["interval"] is None:
        common = f"They have {pair['count']} seed{'s' * (pair['count'] != 1)} in common"
        return f"Who trains fastest cannot be told of {first} and {second} yet. {common}; it takes two for an interval."
    if pair is None or pair["interval"] is None:
        return f"{lead} That is one run each, which does not tell whether the difference is more than noise."
    span = f"The lead of {first}, as ratio minus 1, is {_lead(pair, first)}, from {pair['count']} runs each."
    if pair["word"] == "different":
        return f"{lead} {span}"
    return f"The fastest two, {first} with {one} images/s and {second} with {two}, are not distinguishable. {span}"


def _lead(pair: Mapping[str, Any], first: str) -> str:
    """Return by how much ``first`` is faster than the other of the pair, with the interval, as the table has it."""
    low, high = pair["ratio"]["interval"]
    lead = low, pair["ratio"]["difference"], high
    if pair["backends"][0] != first:
        lead = _inverse(high), _inverse(lead[1]), _inverse(low)
    low, middle, high = map(percent, lead)
    return f"{middle}, with the 95 % interval {low} to {high}"


def _inverse(ratio: float) -> float:
    """Return a ratio minus 1 the other way round."""
    return 1 / (1 + ratio) - 1 if ratio > -1 else math.inf


def _rate(column: Mapping[str, Any]) -> float:
    statistics = column.get("statistics", {}).get("images_per_second")
    return float(statistics["mean"] if statistics else column.get("images_per_second") or 0)


def _pair(result: Mapping[str, Any], first: str, second: str) -> Mapping[str, Any] | None:
    pairs = [p for p in result.get("pairs", ()) if p["quantity"] == "images_per_second"]
    return next((pair for pair in pairs if {*pair["backends"]} == {first, second}), None)
