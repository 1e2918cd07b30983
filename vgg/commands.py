"""What each command does: parsed arguments in, a printed answer and an exit status out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import tomllib
from argparse import Namespace
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import layers, registry, spec
from .errors import VGGError, mismatch, unknown
from .recipe import Recipe, recipe
from .spec import Spec

if TYPE_CHECKING:
    from .conformance.board import Board
    from .data import Dataset
    from .registry import Entry

QUICK = {"digits": "quick", "fashion-mnist": "quick-fashion", "synthetic": "quick"}


def show_list(arguments: Namespace) -> int:
    """Architectures with their counts, backends with their homes."""
    from . import environments, tables

    counts = {name: layers.totals(layers.expand(spec.arch(name))) for name in spec.arch_names()}
    homes = {name: environments.home(registry.find(name)) for name in registry.names()}
    if arguments.json:
        short = {name: {"params": t.params, "macs": t.macs} for name, t in counts.items()}
        return _print_json({"architectures": short, "backends": homes})
    tables.listing(counts, homes)
    return 0


def show(arguments: Namespace) -> int:
    """The layer table of one architecture."""
    wanted = _spec(arguments)
    table = layers.expand(wanted)
    totals = layers.totals(table)
    if arguments.json:
        names = ("name", "kind", "output_shape", "params", "macs")
        rows = [{name: getattr(row, name) for name in names} for row in table]
        return _print_json({**dataclasses.asdict(totals), "layers": rows})
    from . import tables

    tables.layer_table(wanted, table, totals)
    return 0


def _backends(arguments: Namespace) -> list[str]:
    """Those named, each once; without any, the four."""
    return [registry.find(name).name for name in dict.fromkeys(arguments.backends) or registry.own_names()]


def check(arguments: Namespace) -> int:
    """The conformance suite, in one pytest session; the last lines say how much of it was judged."""
    from . import outputs
    from .conformance.run import run

    backends = _backends(arguments)
    if arguments.spec:
        Spec.load(arguments.spec)
    if arguments.junit:
        outputs.check_file("--junit", Path(arguments.junit))
    if arguments.json:
        outputs.check_standard_output()
    try:
        with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
            options = [*_check_options(arguments), *(f"--vgg-backend={name}" for name in backends)]
            status, results = run(options, _jobs(arguments, backends))
            for line in results.board.lines() if results.board else ():
                print(line)
        if arguments.json and results.board:
            _print_json({"ok": status == 0, **results.board.to_dict()})
    except BrokenPipeError:  # whoever has stopped reading must not take that for a success
        sys.stderr.close()
        return 1
    if results.board and status == 2:
        print(f"vgg: {_unjudged(arguments, results.board)}", file=sys.stderr)
    return status


def _jobs(arguments: Namespace, backends: list[str]) -> int:
    """How many backends are judged at a time: where devices are shared, one."""
    shared = arguments.device != "cpu" or arguments.replicas > 1
    most = arguments.jobs or (1 if shared else len(os.sched_getaffinity(0)))
    return min(most, len(backends))


def _check_options(arguments: Namespace) -> list[str]:
    """The suite's options, as pytest takes them."""
    _settle(arguments, {"device": "cpu", "replicas": 1})
    names = ("env", "timeout", "device", "replicas", "spec", "known", "examples", "seed")
    given = {f"--vgg-{name}": getattr(arguments, name) for name in names} | {"--junit-xml": arguments.junit}
    options = [f"{option}={value}" for option, value in given.items() if value is not None]
    options += ["--vgg-thorough"] if arguments.thorough else []
    return options if arguments.select is None else [*options, "-k", arguments.select]


def _unjudged(arguments: Namespace, board: Board) -> VGGError:
    """Why ``vgg check`` has no verdict."""
    names = [name for name in board.backends if not board.judged(name)[0]]
    got = f"{arguments.select!r}, which leaves nothing to judge of {', '.join(names)}"
    if arguments.select is None:
        return mismatch("vgg check", f"nothing judged of {', '.join(names)}", "at least one cell of each backend")
    return mismatch("-k", got, "an expression that matches a check", "see the rows of vgg check")


def train(arguments: Namespace) -> int:
    """One run in one backend, or the rest of one."""
    from . import replicas, runs
    from .client import Worker, deterministic
    from .tables import Progress

    resume = bool(arguments.resume)
    entry, place, chosen, plan, dataset = (_resumed if resume else _begun)(arguments)
    first = replicas.outer(entry).rank == 0
    if arguments.replicas > plan.batch_size:
        raise mismatch("--replicas", arguments.replicas, f"at most {plan.batch_size}, the images of a batch")
    # A cluster's notice to leave is a Ctrl-C; the first process heeds it, and takes the others along.
    signal.signal(signal.SIGTERM, signal.default_int_handler if first else signal.SIG_IGN)
    if not first:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    where = {name: getattr(arguments, name) for name in ("env", "timeout", "device", "replicas")}
    with (
        Worker(entry, **where, variables=deterministic(entry) if arguments.deterministic else None) as worker,
        Progress(quiet=arguments.json or not first) as progress,
    ):
        summary = runs.train(worker, place, chosen, plan, dataset, arguments, progress, resume=resume)
    if not first:
        return 0
    report = runs.report(place)
    if arguments.json:
        return _print_json({"run": str(place), **summary})
    epoch = f", {summary['epoch_seconds']:.1f} s an epoch" if summary["epoch_seconds"] else ""
    print(f"{place}: test accuracy {summary['test_accuracy']:.4f}, {summary['images_per_second']:.0f} images/s{epoch}")
    print(f"report: {report}")
    return 0


def _begun(arguments: Namespace) -> tuple[Entry, Path, Spec, Recipe, Dataset]:
    """A new run, as the arguments say."""
    from . import data, replicas, runs

    if not (arguments.backend and arguments.arch):
        raise mismatch("vgg train", "no BACKEND and ARCH", "both, or --resume RUN")
    entry, plan = registry.find(arguments.backend), _recipe(arguments)
    dataset = data.load(plan.dataset, arguments.data)
    chosen = _fitted(arguments, plan, dataset)
    _settle(arguments, runs.OPTIONS)
    place = _out(arguments, f"{entry.name}-{chosen.name}")
    if replicas.outer(entry).rank == 0:
        runs.directory(place)
    return entry, place, chosen, plan, dataset


def _resumed(arguments: Namespace) -> tuple[Entry, Path, Spec, Recipe, Dataset]:
    """The rest of a run, in its directory; in another backend or with --out, in a new one."""
    from . import data, replicas, runs

    source = Path(arguments.resume)
    run = runs.read(source)
    others = ("arch", "recipe", "narrow", "input", "classes")
    changes = _changes(arguments)
    changed = {*changes, *(name for name in others if getattr(arguments, name))} - {"epochs"}
    if changed:
        raise mismatch("vgg train --resume", f"another {', '.join(sorted(changed))}", "at most other epochs")
    entry, plan = registry.find(arguments.backend or run["backend"]), run["recipe"]
    plan = dataclasses.replace(plan, epochs=changes.get("epochs", plan.epochs))
    _check_place(source, run, plan)
    _settle(arguments, {name: run[name] for name in runs.OPTIONS})
    dataset = data.load(plan.dataset, arguments.data)
    if (entry.name != run["backend"] or arguments.out) and replicas.outer(entry).rank == 0:
        source = runs.continued(source, _out(arguments, f"{entry.name}-{run['spec'].name}"), entry.name)
    return entry, source, run["spec"], plan, dataset


def _check_place(source: Path, run: Mapping[str, Any], plan: Recipe) -> None:
    """Whether there is something to go on from, and somewhere to go."""
    from .checkpoints import Checkpoints

    done = Checkpoints(source, 0).place()
    if done is None and run.get("summary"):
        raise mismatch(str(source), "a finished run without checkpoints", "one with --keep 1 or more")
    if done and done > (plan.epochs, 0):
        raise mismatch("--epochs", plan.epochs, f"at least {done[0]}, which the run has behind it")


def _settle(arguments: Namespace, values: Mapping[str, Any]) -> None:
    """Fill in what no flag has said."""
    for name, value in values.items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)


def compare(arguments: Namespace) -> int:
    """The main job."""
    from . import data, runs, tables

    names = _backends(arguments)
    plan = _recipe(arguments)
    _settle(arguments, {**runs.OPTIONS, "keep": 0})
    dataset = data.load(plan.dataset, arguments.data)
    chosen = _fitted(arguments, plan, dataset)
    place = runs.directory(_out(arguments, "compare"))
    with tables.Progress(quiet=arguments.json) as progress:
        result = runs.compare(names, place, chosen, plan, dataset, arguments, progress)
    if arguments.json:
        _print_json(result)
    else:
        tables.comparison(result)
        print(f"report: {place / 'report.html'}")
    return int(not result["ok"])


def bench(arguments: Namespace) -> int:
    """Timings against baselines; with --compare against an earlier result."""
    from . import runs, tables
    from .bench import results, run, view

    names = _backends(arguments)
    for name in arguments.workload or ():
        if name not in run.names():
            raise unknown("workload", name, run.names())
    _settle(arguments, {"device": "cpu"})
    if arguments.device == "auto":
        raise mismatch("--device", "auto", "cpu or gpu: a result is for one of them")
    chosen = arguments.workload or run.names()
    old = results.read(Path(arguments.compare)) if arguments.compare else None
    if old:
        results.check_comparable(old, run.planned(names, chosen, arguments))
    place = runs.file(Path(arguments.out) if arguments.out else Path(f"{_out(arguments, 'bench')}.json"))
    with tables.Progress(quiet=arguments.json) as progress:
        result = run.run(names, chosen, arguments, progress, lambda found: runs.write_json(place, found))
    if old:
        result["regressions"] = results.regressions(old, result)
        runs.write_json(place, result)
    if arguments.json:
        _print_json(result)
    else:
        tables.timings(view.tables(result))
        print(f"result: {place}")
    slower = [f"slower: {line}" for line in result.get("regressions", ())]
    for line in [*results.failures(result), *slower]:
        print(line, file=sys.stderr)
    return int(bool(slower) or not result["ok"])


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "list": show_list,
    "show": show,
    "check": check,
    "train": train,
    "compare": compare,
    "bench": bench,
}


def _is_file(arch: str) -> bool:
    return arch.endswith((".json", ".toml")) or os.sep in arch


def _spec(arguments: Namespace) -> Spec:
    """The architecture that the arguments name, changed as they say."""
    name, shape = arguments.arch, None
    if arguments.input:
        parts = arguments.input.lower().split("x")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise mismatch("--input", arguments.input, "channels x height x width, as in 3x224x224")
        shape = [int(part) for part in parts]
    changes = {
        "input_shape": shape,
        "classes": arguments.classes,
        "narrow": 1 if arguments.narrow is None else arguments.narrow,
    }
    if _is_file(name):
        return Spec.load(name).modified(**changes)
    return spec.arch(name, **changes)


def _recipe(arguments: Namespace) -> Recipe:
    name = arguments.recipe or QUICK.get(arguments.dataset or "digits", "quick")
    changes = _changes(arguments)
    if isinstance(changes.get("init_from"), str):
        weights = Path(changes["init_from"])
        changes["init_from"] = str((weights / "weights.safetensors" if weights.is_dir() else weights).absolute())
    return recipe(name, **changes)


def _changes(arguments: Namespace) -> dict[str, Any]:
    """The recipe's fields that flags or --set name."""
    fields = [field.name for field in dataclasses.fields(Recipe)]
    flags = {name: getattr(arguments, name, None) for name in fields}
    changes = {name: value for name, value in flags.items() if value is not None}
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise mismatch("--set", repr(text), "FIELD=VALUE", "as in --set momentum=0.9")
        if name not in fields:
            raise unknown("field of a recipe", name, fields)
        changes[name] = _value(value)
    return changes


def _value(text: str) -> Any:
    """As in TOML; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fitted(arguments: Namespace, plan: Recipe, dataset: Dataset) -> Spec:
    """The architecture with the input and classes of the data, where neither a flag nor a file says otherwise."""
    chosen = _spec(arguments)
    if not _is_file(arguments.arch):
        shape = chosen.input_shape if arguments.input else (dataset.channels, plan.size, plan.size)
        chosen = chosen.modified(input_shape=shape, classes=arguments.classes or dataset.classes)
    if chosen.input_shape[0] != dataset.channels:
        wanted = f"{dataset.channels}, as {dataset.name} has"
        raise mismatch("input channels", chosen.input_shape[0], wanted, f"use --input {dataset.channels}xHxW")
    if chosen.classes < dataset.classes:
        raise mismatch("--classes", chosen.classes, f"at least {dataset.classes}, as {dataset.name} has")
    return chosen


def _out(arguments: Namespace, name: str) -> Path:
    return Path(arguments.out or f"runs/{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")


def _print_json(value: Any) -> int:
    try:
        print(json.dumps(value, allow_nan=False))
    except ValueError as error:
        raise VGGError(f"result is not JSON ({error})") from error
    return 0
