"""The Python API: what the commands do, as functions of the same names and options.

Options are keywords with the names of the flags. Whatever is wrong is a ``VGGError``. Where training goes on, a
terminal shows bars, a notebook curves; ``progress=False`` shows nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core import architectures, layers
from .core.errors import mismatch, unknown
from .core.recipe import Recipe
from .core.spec import Spec
from .runs import options
from .runs.options import Setup

if TYPE_CHECKING:
    from .conformance.board import Board
    from .process.client import Listener
    from .runs.results import Check, Comparison, Run, Timings
    from .runs.train import Prepared

Arch = str | Path | Spec
_PLAN = {field.name for field in fields(Recipe)} - {"name"}
_SETUP = {field.name for field in fields(Setup)}


def show(arch: Arch, *, narrow: int | None = None, input: Any = None, classes: int | None = None) -> None:  # noqa: A002
    """Show the layer table of an architecture: print it, or in a notebook display it.

    ``arch`` is a ``Spec``, a name or a file. ``narrow`` divides the channels of every convolution; ``input`` is
    (channels, height, width) or a text such as 3x224x224; ``classes`` is the width of the logits. ``vgg.expand`` gives
    the same table as data.
    """
    from .report import notebook, terminal

    spec = options.spec_of(arch, narrow=narrow, input_shape=input, classes=classes)
    rows = layers.expand(spec)
    if notebook.running():
        columns, texts = terminal.layer_rows(rows)
        notebook.show(notebook.table(columns, texts, terminal.title(spec)))
    else:
        terminal.layer_table(spec, rows, layers.totals(rows))


def catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    """``architectures`` with their parameters and MACs, and ``backends`` with where they run and their version."""
    from .process import environments, registry

    counts = {name: layers.totals(layers.expand(architectures.arch(name))) for name in architectures.arch_names()}
    homes = {name: environments.home(registry.find(name)) for name in registry.names()}
    short = {name: {"params": total.params, "macs": total.macs} for name, total in counts.items()}
    return {"architectures": short, "backends": homes}


def train(
    backend: str | None = None,
    arch: Arch | None = None,
    *,
    recipe: str | Recipe | None = None,
    resume: str | Path | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    narrow: int | None = None,
    input: Any = None,  # noqa: A002
    classes: int | None = None,
    progress: bool = True,
    **more: Any,
) -> Run:
    """Train ``arch`` in ``backend`` by a recipe, or go on with the run in the directory ``resume``.

    ``out`` is the directory of the run, by default a new one under ``runs/``. ``data`` is the folder with the dataset's
    files. ``narrow``, ``input`` and ``classes`` change the architecture, as in ``show``. ``more`` may be any field of
    ``Recipe`` (``epochs=2``) and of ``vgg.runs.options.Setup`` (``device="gpu"``, ``keep=0``).

    A run that is interrupted writes a checkpoint and ends in ``vgg.runs.train.Stopped``, a ``KeyboardInterrupt``.
    """
    from .runs import results
    from .runs.train import report

    prepared = prepare(
        backend,
        arch,
        recipe=recipe,
        resume=resume,
        out=out,
        data=data,
        narrow=narrow,
        input=input,
        classes=classes,
        **more,
    )
    summary = carry_out(prepared, progress=progress)
    if prepared.first:
        report(prepared.place)
    return results.Run(prepared.entry.name, prepared.place, summary)


def prepare(
    backend: str | None,
    arch: Arch | None,
    *,
    recipe: str | Recipe | None,
    resume: str | Path | None,
    out: str | Path | None,
    data: str | Path | None,
    narrow: int | None,
    input: Any,  # noqa: A002
    classes: int | None,
    **more: Any,
) -> Prepared:
    """The run that ``train`` is to carry out, its directory made."""
    from .runs import train as runs

    changes, setup = _sorted(more)
    changed = {"narrow": narrow, "input_shape": input, "classes": classes}
    if resume:
        given = {**setup, **changed, "data": data, "arch": arch, "recipe": recipe}
        return runs.resumed(Path(resume), backend, changes, given, out)
    if not (backend and arch):
        raise mismatch("vgg train", "no BACKEND and ARCH", "both, or --resume RUN")
    from .process import registry

    registry.find(backend)
    task = options.task(arch, options.recipe_of(recipe, changes), data, **changed)
    return runs.begun(backend, task, Setup().with_options(setup), out)


def carry_out(prepared: Prepared, *, progress: bool = True) -> dict[str, Any]:
    """Train; the summary."""
    from .runs import train as runs

    with prepared.setup.worker(prepared.entry) as worker, _progress(shown=progress and prepared.first) as listener:
        return runs.train(worker, prepared, listener)


def compare(
    backends: Iterable[str] = (),
    arch: Arch = "vgg11_narrow",
    *,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    narrow: int | None = None,
    input: Any = None,  # noqa: A002
    classes: int | None = None,
    progress: bool = True,
    **more: Any,
) -> Comparison:
    """Build, prove equal, train and time ``arch`` in each of ``backends``, by default the four of this package.

    The options are those of ``train``.
    """
    from .runs import compare as runs
    from .runs import results
    from .runs.directory import directory

    names, (changes, setup) = _backends(backends), _sorted(more)
    plan = options.recipe_of(recipe, changes)
    task = options.task(arch, plan, data, narrow=narrow, input_shape=input, classes=classes)
    place = directory(Path(out or options.new_path("compare")))
    with _progress(shown=progress) as listener:
        result = runs.compare(names, place, task, Setup(keep=0).with_options(setup), listener)
    return results.Comparison(place, result)


def check(
    backends: Iterable[str] = (),
    *,
    select: str | None = None,
    spec: str | Path | None = None,
    known: str | Path | None = None,
    junit: str | Path | None = None,
    examples: int | None = None,
    seed: int | None = None,
    thorough: bool = False,
    jobs: int | None = None,
    device: str = "cpu",
    replicas: int = 1,
    env: str = "auto",
    timeout: float = 900,
) -> Check:
    """Run the conformance suite on each of ``backends``, by default the four of this package.

    ``select`` is an expression as pytest's ``-k`` takes it; ``spec`` a file to judge on alone; ``known`` a file of
    known failures; ``junit`` a file to write. ``examples`` and ``seed`` are those of random specs; ``thorough`` adds
    the checks that take longer; ``jobs`` is how many backends are judged at a time. What pytest prints goes to standard
    output.
    """
    from .conformance.run import run
    from .core import files
    from .runs import results

    names = _backends(backends)
    if spec:
        Spec.load(spec)
    if junit:
        files.check_file("--junit", Path(junit))
    told = {"env": env, "timeout": timeout, "device": device, "replicas": replicas}
    told |= {"spec": spec, "known": known, "examples": examples, "seed": seed}
    status, found = run(_pytest_options(told, names, select, junit, thorough=thorough), _jobs(jobs, told, names))
    for line in found.board.lines() if found.board else ():
        print(line)
    return results.Check(status, found.board.to_dict() if found.board else {}, _unjudged(select, found.board, status))


def bench(
    backends: Iterable[str] = (),
    *,
    workload: Sequence[str] = (),
    rounds: int = 5,
    batch_size: int | None = None,
    precision: str = "float32",
    device: str = "cpu",
    env: str = "auto",
    timeout: float = 900,
    out: str | Path | None = None,
    compare: str | Path | None = None,
    progress: bool = True,
) -> Timings:
    """Time each of ``backends`` against its baselines; ``compare`` is an earlier result, to see what has become slower.

    ``workload``: names, by default all; ``out``: the file of the result, by default a new one under ``runs/``.
    """
    from .runs import directory, results
    from .timing import results as timings
    from .timing import run
    from .timing.conditions import Conditions

    names, chosen = _backends(backends), tuple(workload) or run.names()
    for name in chosen:
        if name not in run.names():
            raise unknown("workload", name, run.names())
    if device == "auto":
        raise mismatch("--device", "auto", "cpu or gpu: a result is for one of them")
    conditions = Conditions(device, precision, rounds, env, timeout, batch_size)
    old = timings.read(Path(compare)) if compare else None
    if old:
        timings.check_comparable(old, run.planned(names, chosen, conditions))
    place = directory.file(Path(out) if out else options.new_path("bench").with_suffix(".json"))
    with _progress(shown=progress) as listener:
        result = run.run(names, chosen, conditions, listener, lambda found: directory.write_json(place, found))
    if old:
        result["regressions"] = timings.regressions(old, result)
        directory.write_json(place, result)
    slower = [f"slower: {line}" for line in result.get("regressions", ())]
    return results.Timings(place, result, (*timings.failures(result), *slower))


def _backends(names: Iterable[str]) -> list[str]:
    """Those named, each once; without any, the four."""
    from .process import registry

    named = [names] if isinstance(names, str) else names
    return [registry.find(name).name for name in dict.fromkeys(named) or registry.own_names()]


def _sorted(more: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(fields of the recipe, fields of the setup); other names are a ``VGGError``."""
    for name in more:
        if name not in _PLAN | _SETUP:
            raise unknown("option", name, _PLAN | _SETUP)
    return {n: v for n, v in more.items() if n in _PLAN}, {n: v for n, v in more.items() if n in _SETUP}


@contextlib.contextmanager
def _progress(*, shown: bool) -> Iterator[Listener]:
    from .report import notebook, terminal

    listener = notebook.Live() if shown and notebook.running() else terminal.Progress(quiet=not shown)
    with listener as entered:
        yield entered


def _jobs(jobs: int | None, told: Mapping[str, Any], names: Sequence[str]) -> int:
    """How many backends are judged at a time: where devices are shared, one."""
    shared = told["device"] != "cpu" or told["replicas"] > 1
    return min(jobs or (1 if shared else len(os.sched_getaffinity(0))), len(names))


def _pytest_options(
    told: Mapping[str, Any], names: Sequence[str], select: str | None, junit: str | Path | None, *, thorough: bool
) -> list[str]:
    """The suite's options, as pytest takes them."""
    given = {f"--vgg-{name}": value for name, value in told.items()} | {"--junit-xml": junit}
    lines = [f"{option}={value}" for option, value in given.items() if value is not None]
    lines += ["--vgg-thorough"] if thorough else []
    lines += [] if select is None else ["-k", select]
    return [*lines, *(f"--vgg-backend={name}" for name in names)]


def _unjudged(select: str | None, board: Board | None, status: int) -> str:
    """Why there is no verdict; an empty text where there is one."""
    if board is None or status != 2:
        return ""
    names = [name for name in board.backends if not board.judged(name)[0]]
    if select is None:
        return str(mismatch("vgg check", f"nothing judged of {', '.join(names)}", "at least one cell of each backend"))
    got = f"{select!r}, which leaves nothing to judge of {', '.join(names)}"
    return str(mismatch("-k", got, "an expression that matches a check", "see the rows of vgg check"))
