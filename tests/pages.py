"""Results and run directories for the tests of pages, made without a backend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from vgg.core import layers
from vgg.core.recipe import recipe as named_recipe
from vgg.core.spec import Spec
from vgg.runs.evidence import FORWARD
from vgg.training import data

SPEC = Spec.from_blocks(((1, 4), (1, 8)), input_shape=(1, 8, 8), classes=10, name="tiny")
MACHINE = {"system": "Linux", "cpu": "Slow", "cores": 2}
BENCH = Path(__file__).parents[1] / "benchmarks" / "results" / "bench-cpu.json"
CELL = {"outcome": "passed", "error": 1e-16, "limit": 1e-12, "reason": ""}
FACTS: dict[str, Any] = {
    "framework": "framework 1.0",
    "versions": {"framework": "1.0"},
    "devices": ["cpu"],
    "flags": {},
    "gpus": 0,
    "level": "training",
    "dtypes": ["float64", "float32"],
    "declared": {},
    "precisions": {"cpu": ["float32"], "gpu": []},
    "python": "3.11",
    "replicas": 1,
}
SUMMARY: dict[str, Any] = {
    "first_loss": 2.3,
    "last_loss": 0.5,
    "test_accuracy": 0.75,
    "images_per_second": 100.0,
    "epoch_seconds": 1.0,
    "compile_seconds": 0.5,
    "peak_bytes": 10**9,
    "device": "cpu",
    "shares": {"other": 0.01},
}


def column(name: str, speed: float = 100.0) -> dict[str, Any]:
    """Return a column of ``compare.json`` as it is when all is well."""
    table = layers.expand(SPEC)
    parameters = [name for row in table for name in row.parameters]
    return {
        "facts": {**FACTS, "framework": f"{name} 1.0"},
        **SUMMARY,
        "images_per_second": speed,
        "ok": True,
        "reason": "",
        "layers": len(table),
        "layers_agreeing": len(table),
        "parameters": layers.totals(table).params,
        "structure_at": list(SPEC.input_shape),
        "shapes": {row.name: list(row.output_shape) for row in table},
        "logits_error": 1e-15,
        "gradient_error": 2e-15,
        "layer_limit": 1e-12,
        "parameter_limit": 1e-12,
        "layer_errors": dict.fromkeys([*(row.name for row in table), FORWARD], 1e-15),
        "parameter_errors": dict.fromkeys(parameters, 2e-15),
    }


def result(names: Sequence[str], *, recipe: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the contents of ``compare.json`` for backends of these names; the first is the fastest."""
    return {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": MACHINE,
        "vgg": "0.1.0",
        "commit": None,
        "spec": SPEC.to_dict(),
        "recipe": named_recipe("quick", **(recipe or {})).to_dict(),
        "backends": {name: column(name, 100.0 - 10 * i) for i, name in enumerate(names)},
        "ok": True,
    }


def compared(
    folder: Path, names: Sequence[str] = ("torch", "jax"), *, seeds: int = 1, steps: int = 12
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return a comparison and the directories of its runs, which are written below ``folder``."""
    contents, runs = result(names), {name: folder / name for name in names}
    contents["seeds"] = list(range(seeds))
    for name, run in runs.items():
        places = [run] if seeds == 1 else [run / f"seed-{seed}" for seed in range(seeds)]
        for seed, place in enumerate(places):
            written(place, steps=steps, offset=0.1 * seed)
        if seeds > 1:
            contents["backends"][name] |= _repeated(contents["backends"][name], seeds)
    if seeds > 1:
        contents["pairs"] = [_pair(pair, seeds) for pair in combinations(names, 2)]
    return contents, runs


def written(run: Path, *, steps: int, offset: float = 0.0) -> Path:
    """Write metrics of two epochs and an evaluation into the directory ``run``, and return it."""
    run.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for epoch in range(2):
        for step in range(steps // 2):
            loss = 2 + offset - (epoch * steps / 2 + step) / steps
            rows.append({"epoch": epoch, "step": step, "loss": loss, "lr": 0.1, "seconds": 0.01 * (1 + step % 3)})
        rows.append({"epoch": epoch, "test_loss": 1.0, "test_accuracy": 0.4 + 0.3 * epoch + offset / 10})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "evaluation.json").write_text(json.dumps(evaluation()))
    return run


def evaluation() -> dict[str, Any]:
    """Return an evaluation of the digits in which the first test image is a mistake."""
    digits = data.load("digits")
    label, classes = digits.class_names[digits.test_labels[0]], list(digits.class_names)
    other = classes[(classes.index(label) + 1) % 10]
    mistake = {"image": 0, "label": label, "predicted": other, "probability": 0.99}
    matrix = [[30 if i == j else int((i + j) % 7 == 0) for j in range(10)] for i in range(10)]
    shares = [row[i] / sum(row) for i, row in enumerate(matrix)]
    confusions = [{"label": label, "predicted": other, "count": 1}]
    return {
        "classes": classes,
        "class_accuracy": shares,
        "confusion": matrix,
        "confusions": confusions,
        "mistakes": [mistake],
    }


def _repeated(one: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    runs = {str(seed): {name: one[name] for name in SUMMARY} for seed in range(seeds)}
    quantities = ("test_accuracy", "last_loss", "images_per_second")
    statistics = {name: {"count": seeds, "mean": one[name], "deviation": one[name] / 100} for name in quantities}
    return {"runs": runs, "statistics": statistics}


def _pair(pair: Sequence[str], seeds: int) -> dict[str, Any]:
    about = {"backends": list(pair), "quantity": "images_per_second", "count": seeds, "word": "different"}
    ratio = {"difference": 0.1, "interval": [0.08, 0.12], "visible": 0.03}
    return {**about, "difference": 10.0, "interval": [8.0, 12.0], "visible": 3.0, "ratio": ratio}


def board(**cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result of ``vgg check`` for torch with these cells, which pass unless they say otherwise."""
    return {
        "date": "2026-01-02",
        "vgg": "0.1.0",
        "commit": None,
        "machine": MACHINE,
        "frameworks": {"torch": "torch 2"},
        "judged": {"torch": [len(cells), len(cells)]},
        "checks": {name.replace("_", " "): {"torch": {**CELL, **cell}} for name, cell in cells.items()},
        "declared": {},
        "seconds": {"torch": 1.0},
    }
