"""What a comparison says, in sentences: whether it is one network, where the worst error is, and who is fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import errors
from .palette import error, listed


class Verdict(NamedTuple):
    """One or two words, whether they are good news (None: nothing was judged), and the sentences below them."""

    word: str
    good: bool | None
    sentences: list[str]


def verdict(result: Mapping[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """Return the verdict on a comparison or on runs. ``columns`` are those that did not fail."""
    failed = [name for name in result["backends"] if name not in columns]
    proven = {name: column for name, column in columns.items() if "ok" in column}
    different = [name for name, column in proven.items() if not column["ok"]]
    sentences = [f"{listed(failed)} failed; the reason is below."] * bool(failed)
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
    return Verdict("One network" if whole else "Not one network", whole, [*sentences, *_worst(proven)])


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
    if len(rates) < 2:
        return ""
    first, second = sorted(rates, key=lambda name: -rates[name])[:2]
    pair = _pair(result, first, second)
    lead = f"{first} trains fastest, at {rates[first]:,.0f} images/s; {second} is next with {rates[second]:,.0f}."
    if pair is None or pair["interval"] is None:
        return f"{lead} That is one run each, which does not tell whether the difference is more than noise."
    sign = 1 if pair["backends"][0] == first else -1
    low, high = sorted(sign * end for end in pair["interval"])
    span = f"The 95 % interval of the difference is {low:,.0f} to {high:,.0f} images/s, from {pair['count']} runs each."
    if pair["word"] == "different":
        return f"{lead} {span}"
    words = f"{first} with {rates[first]:,.0f} images/s and {second} with {rates[second]:,.0f} are not distinguishable."
    return f"The fastest two, {words} {span}"


def differences(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pairs of backends as rows of texts; none when the result has one run each."""
    return [
        {
            "backends": " \N{MINUS SIGN} ".join(pair["backends"]),
            "quantity": pair["quantity"].replace("_", " "),
            "difference": f"{pair['difference']:+.4g}",
            "interval": "-" if pair["interval"] is None else "{:+.4g} to {:+.4g}".format(*pair["interval"]),
            "word": pair["word"],
            "visible": "-" if pair["visible"] is None else f"{pair['visible']:.3g}",
        }
        for pair in result.get("pairs", ())
        if pair["word"] != "too few runs"
    ]


def _rate(column: Mapping[str, Any]) -> float:
    statistics = column.get("statistics", {}).get("images_per_second")
    return float(statistics["mean"] if statistics else column.get("images_per_second") or 0)


def _pair(result: Mapping[str, Any], first: str, second: str) -> Mapping[str, Any] | None:
    pairs = [p for p in result.get("pairs", ()) if p["quantity"] == "images_per_second"]
    return next((pair for pair in pairs if {*pair["backends"]} == {first, second}), None)
