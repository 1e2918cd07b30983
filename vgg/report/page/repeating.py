"""How to repeat a page: the commands, the lock files, and the results as JSON to keep."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...core.architectures import arch, arch_names
from ...core.errors import VGGError
from ...core.recipe import Recipe, recipe, recipe_names
from ...core.spec import Spec
from .palette import shape

PLAIN = 20_000
"""The most characters of JSON that are embedded as they are; more are compressed."""


class Download(NamedTuple):
    """A file in the page: its name, its address, and the number of its bytes before it is compressed."""

    name: str
    address: str
    size: int


def download(name: str, value: Any) -> Download:
    """Return ``value`` as a JSON file that a link in the page saves."""
    data = json.dumps(value, indent=1, default=str).encode("utf-8", "backslashreplace")
    kind, packed = ("json", data) if len(data) <= PLAIN else ("gzip", gzip.compress(data, 9, mtime=0))
    suffix = "" if kind == "json" else ".gz"
    return Download(f"{name}{suffix}", f"data:application/{kind};base64,{base64.b64encode(packed).decode()}", len(data))


def commands(result: Mapping[str, Any], spec: Spec) -> list[str]:
    """Return the commands that make a comparison, or each of the runs, once more."""
    more = [*_network(spec), *_recipe(result["recipe"])]
    seeds = result.get("seeds") or []
    if "seeds" in result or "ok" in result:
        count = ["--seeds", str(len(seeds))] if len(seeds) > 1 else []
        options = ["--arch", *more, *count]
        return [_folded(["vgg", "compare", *map(str, result["backends"]), *options, "--out", "runs/again"])]
    backends = {str(column.get("backend", name)) for name, column in result["backends"].items()}
    return [_folded(["vgg", "train", name, *more, "--out", f"runs/{name}"]) for name in sorted(backends)]


def recipe_rows(values: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """Return the fields of a recipe as a page shows them: it says so where a spec's own input makes ``size`` unused."""
    height, width = spec.input_shape[1:]
    if "size" not in values or (height, width) == (values["size"],) * 2:
        return dict(values)
    return {**values, "size": f"{values['size']}, not used: the network's own input is {shape((height, width))}"}


def _folded(words: list[str]) -> str:
    """Return a command for a shell, with an option per line."""
    text, last = "", ""
    for word in words:
        text += (" \\\n    " if word.startswith("--") else " ") * bool(last) + shlex.quote(word)
        last = word
    return text


def _network(spec: Spec) -> list[str]:
    """Return ARCH, with the options that change it: a name if that is enough, else the file that the page holds."""
    if spec.name in arch_names():
        named = arch(spec.name).modified(input_shape=spec.input_shape, classes=spec.classes)
        if named == spec:
            size = "x".join(map(str, spec.input_shape))
            return [spec.name, "--input", size, "--classes", str(spec.classes)]
    return ["spec.json"]


def _recipe(values: Mapping[str, Any]) -> list[str]:
    try:
        plan = Recipe.from_dict(values)
    except VGGError:
        return []
    base = plan.name if plan.name in recipe_names() else "quick"
    standard = recipe(base).to_dict()
    changes = {n: v for n, v in plan.to_dict().items() if n not in ("name", "size") and v != standard[n]}
    each = [part for n, v in changes.items() for part in ("--set", f"{n}={v if isinstance(v, str) else json.dumps(v)}")]
    return ["--recipe", base, *each]


def lock(name: str, column: Mapping[str, Any]) -> str:
    """Return the name of the lock file of a backend's environment."""
    backend, gpu = column.get("backend", name), "-gpu" if column.get("device") == "gpu" else ""
    return f"vgg/process/envs/{backend}{gpu}.txt"
