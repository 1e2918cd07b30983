"""The Python API: each command of ``vgg`` as a function with the same name and options.

Options are keywords with the names of the flags. Every error is a ``VGGError``. During training a terminal shows bars
and a notebook shows curves; ``progress=False`` shows nothing.
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
    """Show the layer table of an architecture: print it, or display it in a notebook.

    ``arch`` is a ``Spec``, the name of an architecture, or the path of a JSON or TOML file. ``narrow`` divides the
    channels of every convolution; ``input`` is (channels, height, width) or a text such as 3x224x224; ``classes`` is
    the width of the logits. Raises ``VGGError`` when these do not describe a network. ``vgg.expand`` returns the same
    table as data.
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
    """Return the architectures and the backends that can be named.

    ``architectures`` maps each name to the number of its ``params`` and of its ``macs`` per image; ``backends`` maps
    each name to ``where`` it runs and the ``version`` of its framework.
    """
    from .process import environments, registry

    counts = {name: layers.totals(layers.expand(architectures.arch(name))) for name in architectures.arch_names()}
    homes = {name: environments.home(registry.find(name)) for name in registry.names()}
    short = {name: {"params": total.params, "macs": total.macs} for name, total in counts.items()}
    return {"architectures": short, "backends": homes}


def code(
    backend: str,
    arch: Arch,
    *,
    train: bool = False,
    weights: str | Path | None = None,
    recipe: str | Recipe | None = None,
    narrow: int | None = None,
    input: Any = None,  # noqa: A002
    classes: int | None = None,
    **more: Any,
) -> str:
    """Return ``arch`` as the source of a script in the framework of ``backend``, with no vgg in it.

    The script needs the framework and NumPy, and prints a summary of the layers. ``train`` adds a loop that trains on
    the files of Fashion-MNIST, or of the digits, as ``recipe`` (default: quick-fashion) and its fields in ``more``
    say; an architecture by name then takes the dataset's input shape and classes. ``weights`` is the path of canonical
    weights, which the script loads by safetensors. ``arch``, ``narrow``, ``input`` and ``classes`` are those of
    ``show``.

    Raises ``VGGError`` when an option is wrong, when ``backend`` offers no code, and when a script cannot do what the
    recipe says, such as drops of the learning rate.
    """
    from . import scripts
    from .process import registry

    changed = {"narrow": narrow, "input_shape": input, "classes": classes}
    entry = registry.find(backend)
    if not train and (recipe or more):
        raise mismatch("vgg code", f"{', '.join(['recipe'] * bool(recipe) + [*more])} without --train", "--train too")
    plan = options.recipe_of(recipe or "quick-fashion", more) if train else None
    if plan:
        files = scripts.files_of(plan)
        shape = (files.shape[0], plan.size, plan.size)
        spec = options.fitted(arch, shape, files.classes, **changed)
    else:
        spec = options.spec_of(arch, **changed)
    return scripts.source(entry, spec, recipe=plan, weights=options.weights_of(spec, weights))


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
    """Train ``arch`` in ``backend`` by a recipe, or continue the run in the directory ``resume``.

    ``out`` is the directory of the run, by default a new one under ``runs/``. ``data`` is the folder with the dataset's
    files. ``narrow``, ``input`` and ``classes`` change the architecture, as in ``show``. ``more`` may be any field of
    ``Recipe`` (``epochs=2``) and of ``vgg.runs.options.Setup`` (``device="gpu"``, ``keep=0``).

    Raises ``VGGError`` when an option is wrong or the backend fails. An interrupted run writes a checkpoint and raises
    ``vgg.runs.train.Stopped``, which is a ``KeyboardInterrupt``.
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
    """Check the options of ``train`` and return the run that they describe; a new run's directory is created.

    Raises ``VGGError`` when an option is wrong.
    """
    from .runs import train as runs

    changes, setup = _sorted(more)
    changed = {"narrow": narrow, "input_shape": input, "classes": classes}
    if resume:
        others = {**setup, **changed, "data": data, "arch": arch, "recipe": recipe}
        return runs.resumed(Path(resume), backend, changes, others, out)
    if not (backend and arch):
        raise mismatch("vgg train", "no BACKEND and ARCH", "both, or --resume RUN")
    from .process import registry

    registry.find(backend)
    task = options.task(arch, options.recipe_of(recipe, changes), data, **changed)
    return runs.begun(backend, task, Setup().with_options(setup), out)


def carry_out(prepared: Prepared, *, progress: bool = True) -> dict[str, Any]:
    """Train the ``prepared`` run and return its summary. Raises what ``train`` raises."""
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
    """Build ``arch`` in each of ``backends``, prove the models equal, train them and time them.

    The default is the four backends of this package. The options are those of ``train``. Raises ``VGGError`` when an
    option is wrong; the result says which backends failed.
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

    ``select`` is an expression for pytest's ``-k``. ``spec`` is the file of a spec: the backends are judged on it
    alone. ``known`` is a TOML file of known failures. ``junit`` is the file to which JUnit XML is written. ``examples``
    is the number of random specs per backend and ``seed`` the seed that they are drawn from. ``thorough`` adds the
    checks that take longer. ``jobs`` is the number of backends that are judged at the same time. ``timeout`` is in
    seconds. pytest prints on standard output.

    Raises ``VGGError`` when an option is wrong; the result says which checks failed.
    """
    from .conformance.run import run
    from .core import files
    from .runs import results

    names = _backends(backends)
    if spec:
        Spec.load(spec)
    if junit:
        files.check_file("--junit", Path(junit))
    settings = {"env": env, "timeout": timeout, "device": device, "replicas": replicas}
    settings |= {"spec": spec, "known": known, "examples": examples, "seed": seed}
    arguments = _pytest_options(settings, names, select, junit, thorough=thorough)
    status, outcomes = run(arguments, _jobs(jobs, settings, names))
    board = outcomes.board
    for line in board.lines() if board else ():
        print(line)
    return results.Check(status, board.to_dict() if board else {}, _unjudged(select, board, status))


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
    """Time each of ``backends``, by default the four of this package, against its baselines.

    ``workload`` holds names of workloads, by default all. ``rounds`` is the number of measurements of each; ``timeout``
    is in seconds. ``out`` is the file of the result, by default a new one under ``runs/``. ``compare`` is the file of
    an earlier result; the new result then lists what has become slower.

    Raises ``VGGError`` when an option is wrong; the result says what failed.
    """
    from .runs import directory, results
    from .timing import results as timings
    from .timing import run
    from .timing.conditions import Conditions

    names, workloads = _backends(backends), tuple(workload) or run.names()
    for name in workloads:
        if name not in run.names():
            raise unknown("workload", name, run.names())
    if device == "auto":
        raise mismatch("--device", "auto", "cpu or gpu: a result is for one of them")
    conditions = Conditions(device, precision, rounds, env, timeout, batch_size)
    old = timings.read(Path(compare)) if compare else None
    if old:
        timings.check_comparable(old, run.planned(names, workloads, conditions))
    place = directory.file(Path(out) if out else options.new_path("bench").with_suffix(".json"))
    with _progress(shown=progress) as listener:
        result = run.run(names, workloads, conditions, listener, lambda partial: directory.write_json(place, partial))
    if old:
        result["regressions"] = timings.regressions(old, result)
        directory.write_json(place, result)
    slower = [f"slower: {line}" for line in result.get("regressions", ())]
    return results.Timings(place, result, (*timings.failures(result), *slower))


def _backends(names: Iterable[str]) -> list[str]:
    """Return the backends of these names without repetitions, or the four of this package when there are no names.

    Raises ``VGGError`` when a name is unknown.
    """
    from .process import registry

    names = [names] if isinstance(names, str) else names
    return [registry.find(name).name for name in dict.fromkeys(names) or registry.own_names()]


def _sorted(more: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split ``more`` into (fields of the recipe, fields of the setup). Raises ``VGGError`` for any other name."""
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


def _jobs(jobs: int | None, settings: Mapping[str, Any], names: Sequence[str]) -> int:
    """Return how many backends are judged at the same time: one when they would share devices."""
    shared = settings["device"] != "cpu" or settings["replicas"] > 1
    return min(jobs or (1 if shared else len(os.sched_getaffinity(0))), len(names))


def _pytest_options(
    settings: Mapping[str, Any], names: Sequence[str], select: str | None, junit: str | Path | None, *, thorough: bool
) -> list[str]:
    """Return the options of ``check`` as arguments for pytest."""
    flags = {f"--vgg-{name}": value for name, value in settings.items()} | {"--junit-xml": junit}
    arguments = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    arguments += ["--vgg-thorough"] if thorough else []
    arguments += [] if select is None else ["-k", select]
    return [*arguments, *(f"--vgg-backend={name}" for name in names)]


def _unjudged(select: str | None, board: Board | None, status: int) -> str:
    """Return the reason why there is no verdict, or an empty text when there is one."""
    if board is None or status != 2:
        return ""
    names = [name for name in board.backends if not board.judged(name)[0]]
    if select is None:
        return str(mismatch("vgg check", f"nothing judged of {', '.join(names)}", "at least one cell of each backend"))
    got = f"{select!r}, which leaves nothing to judge of {', '.join(names)}"
    return str(mismatch("-k", got, "an expression that matches a check", "see the rows of vgg check"))
