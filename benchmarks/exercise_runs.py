"""The runs of the exercises: training steps of AlexNet and VGGs, and what heads and input sizes do to the accuracy.

``python benchmarks/exercise_runs.py steps OUT [BACKEND...]`` times training steps of AlexNet and VGG-11, each with its
own head and with global average pooling in its place. ``python benchmarks/exercise_runs.py small OUT`` times steps of
the small nets in torch. ``python benchmarks/exercise_runs.py accuracies OUT SEEDS [NET...]`` trains them on a part of
Fashion-MNIST, which is read from ``VGG_DATA`` or the cache; what this commit has run already is kept. All add to the
file OUT, which is ``benchmarks/results/exercises.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from vgg import Spec, api, arch
from vgg.core.files import write_atomically
from vgg.core.recipe import Recipe, recipe
from vgg.process import registry
from vgg.process.provenance import provenance
from vgg.runs import directory, options, train
from vgg.timing import run
from vgg.timing.conditions import Conditions
from vgg.timing.contest import PAUSE, Terms, entered
from vgg.timing.workloads import Workload
from vgg.training import data

CONDITIONS = Conditions(rounds=5)
SMALL = "torch"
"""The backend of the small nets."""
KEPT = ("train", "peak_bytes", "parity")
"""What is kept of the measurements of a net."""
PIXELS = 28
"""The side of an image of Fashion-MNIST: a step resizes it to the network's input."""
EXAMPLES = 12_000
"""The number of training images: the first of Fashion-MNIST's 60,000."""
BATCHES = {"steps": 8, "small": 32}
"""Images per step."""
HIDDEN = (512, 512)
"""The hidden dense layers of the small nets: an eighth of VGG's."""
POOLED: dict[str, Any] = {"hidden": (), "global_pool": True}
DOCS = Path(__file__).resolve().parent.parent / "docs"


def large_nets() -> dict[str, Spec]:
    """Return AlexNet and VGG-11 for the chapters' images, with their own heads and with global average pooling."""
    nets = {name: arch(name, input_shape=(1, 224, 224), classes=10) for name in ("alexnet", "vgg11")}
    return nets | {f"{name}_pooled": net.modified(**POOLED) for name, net in nets.items()}


def small_nets() -> dict[str, Spec]:
    """Return VGG-11s with an eighth of the channels for several inputs, some with cheaper heads.

    Among them are the networks of ``docs/small-input.toml`` and ``docs/late-pools.toml``, with half of their channels:
    they too have 8 in the first block.
    """
    options: dict[str, Any] = {"classes": 10, "hidden": HIDDEN, "narrow": 8}
    nets = {f"side{side}": arch("vgg11", input_shape=(1, side, side), **options) for side in (56, 84, 96, 224)}
    files = {"small_input": "small-input.toml", "late_pools": "late-pools.toml"}
    nets |= {name: Spec.load(DOCS / file).modified(narrow=2, hidden=HIDDEN) for name, file in files.items()}
    return nets | {"narrow_head": nets["side96"].modified(hidden=(64, 64)), "pooled": nets["side96"].modified(**POOLED)}


def steps(backends: Iterable[str], specs: dict[str, Spec], batch: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each backend with the seconds of training steps of all nets, and each net's peak memory and parity."""
    device = CONDITIONS.device
    nets = {name: Workload(name, spec, PIXELS, {device: (batch,)}, ("train",)) for name, spec in specs.items()}
    with ExitStack() as stack:
        terms = {name: stack.enter_context(run.agreed(net, batch, CONDITIONS)) for name, net in nets.items()}
        for backend in backends:
            about = {**CONDITIONS.about(), "batch": batch, "specs": described(specs)}
            results = timed(registry.find(backend), terms)
            framework = next(iter(results.values()))["facts"]["framework"]
            columns = {name: {part: found[part] for part in KEPT} for name, found in results.items()}
            yield backend, about | {"framework": framework, "nets": columns}


def timed(entry: registry.Entry, terms: dict[str, Terms]) -> dict[str, dict[str, Any]]:
    """Return what was measured of each net. The nets take turns, and another begins each round."""
    names = list(terms)
    with ExitStack() as stack:
        entrants = {n: stack.enter_context(entered(entry, "vgg", terms[n], CONDITIONS)) for n in names}
        for first in range(CONDITIONS.rounds):
            for i in range(len(names)):
                time.sleep(PAUSE)
                entrants[names[(first + i) % len(names)]].round()
        return {name: entrant.found for name, entrant in entrants.items()}


def described(specs: dict[str, Spec]) -> dict[str, Any]:
    """Return the specs as plain values for JSON."""
    return {name: spec.to_dict() for name, spec in specs.items()}


def plan() -> Recipe:
    """Return the recipe of the small nets, but for the seed and the size."""
    return recipe("quick-fashion", batch_size=BATCHES["small"])


def accuracies(seeds: int, names: list[str], out: Path) -> None:
    """Train the nets ``names``, by default all, with every seed; add each result to ``out`` when its run ends."""
    nets, whole = small_nets(), data.load(plan().dataset)
    part = replace(whole, train_images=whole.train_images[:EXAMPLES], train_labels=whole.train_labels[:EXAMPLES])
    about = {**provenance(), "backend": SMALL, "recipe": plan().to_dict(), "specs": described(nets)}
    about |= {"train_images": EXAMPLES, "test_images": len(part.test_labels)}
    kept = read(out).get("accuracies", {})
    runs = kept["runs"] if kept.get("commit") == about["commit"] else {}
    for seed in range(seeds):
        for name in names or nets:
            if str(seed) not in runs.setdefault(name, {}):
                framework, runs[name][str(seed)] = trained(nets[name], seed, part)
                write(out, "accuracies", about | {"framework": framework, "runs": runs})


def trained(spec: Spec, seed: int, dataset: data.Dataset) -> tuple[str, dict[str, Any]]:
    """Return the framework with its version, and the accuracy and the last loss of a run of ``spec``."""
    task = options.Task(spec, replace(plan(), seed=seed, size=spec.input_shape[1]), dataset)
    with tempfile.TemporaryDirectory(prefix="vgg-") as folder:
        place = Path(folder, "run")
        summary = api.carry_out(train.begun(SMALL, task, options.Setup(keep=0), place), progress=False)
        framework = directory.load(place)["facts"]["framework"]
    return framework, {name: summary[name] for name in ("test_accuracy", "last_loss", "first_loss")}


def read(out: Path) -> dict[str, Any]:
    """Return what the file ``out`` holds, or nothing if there is none."""
    return dict(json.loads(out.read_text(encoding="utf-8"))) if out.exists() else {}


def write(out: Path, part: str, result: dict[str, Any]) -> None:
    """Put ``result`` into the file ``out`` under the name ``part``."""
    write_atomically(out, (json.dumps(read(out) | {part: result}, indent=1) + "\n").encode())


def main(part: str, place: str, *arguments: str) -> None:
    """Make one part of the results in the file ``place``: ``steps``, ``small`` or ``accuracies``."""
    out = Path(place)
    if part == "steps":
        for backend, column in steps(arguments or registry.own_names(), large_nets(), BATCHES[part]):
            write(out, part, read(out).get(part, {}) | {backend: column})
    elif part == "small":
        write(out, part, dict(steps([SMALL], small_nets(), BATCHES[part]))[SMALL])
    else:
        accuracies(int(arguments[0]), list(arguments[1:]), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
