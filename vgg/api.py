"""The Python API: each command of ``vgg`` as a function with the same name and options.

Options are keywords with the names of the flags. Every error is a ``VGGError``. During training a terminal shows bars
and a notebook shows curves; ``progress=False`` shows nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core import architectures, files, layers, limits, outputs, systems
from .core.errors import VGGError, mismatch, unknown
from .core.recipe import CHOICES, Recipe
from .core.spec import Spec
from .core.texts import shown
from .core.values import boolean, choice, integer, sequence, text
from .runs import options
from .runs.options import Setup, Task

if TYPE_CHECKING:
    from .conformance.board import Board
    from .process.client import Listener
    from .runs.results import Check, Comparison, Run, Timings
    from .runs.train import Prepared

Arch = str | Path | Spec
_PLAN = {*options.CHANGEABLE}
_SETUP = {field.name for field in fields(Setup)}


def show(
    arch: Arch,
    *,
    narrow: int | None = None,
    input: Any = None,  # noqa: A002
    classes: int | None = None,
    blocks: bool = False,
) -> None:
    """Show the layer table of an architecture: print it, or display it in a notebook.

    ``arch`` is a ``Spec``, the name of an architecture, or the path of a JSON or TOML file. ``narrow`` divides the
    channels of every convolution; ``input`` is (channels, height, width) or a text such as 3x224x224; ``classes`` is
    the width of the logits. ``blocks`` shows one row per block, and one for the dense layers. Raises ``VGGError`` when
    these do not describe a network. ``vgg.expand`` and ``vgg.core.block_table`` return the same tables as data.
    """
    from .core.block_table import block_table
    from .report import notebook, terminal

    spec = options.spec_of(arch, narrow=narrow, input_shape=input, classes=classes)
    table, rows = layers.expand(spec), block_table(spec) if boolean("--blocks", blocks) else ()
    if notebook.running():
        columns, texts = terminal.block_rows(rows) if rows else terminal.layer_rows(table)
        notebook.show(notebook.network(spec) + notebook.table(columns, texts, terminal.title(spec)))
    elif rows:
        terminal.block_table(spec, rows, layers.totals(table))
    else:
        terminal.layer_table(spec, table, layers.totals(table))


def catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the architectures and the backends that can be named.

    ``architectures`` maps each name to the number of its ``params`` and of its ``macs`` per image; ``backends`` maps
    each name to ``where`` it runs and the ``version`` of its framework.
    """
    from .process import registry

    counts = {name: layers.totals(layers.expand(architectures.arch(name))) for name in architectures.arch_names()}
    homes = {name: _home(name) for name in registry.names()}
    short = {name: {"params": total.params, "macs": total.macs} for name, total in counts.items()}
    return {"architectures": short, "backends": homes}


def _home(name: str) -> dict[str, str]:
    from .process import environments, registry

    if sys.platform == "win32":
        return {"where": "Linux or macOS, or WSL 2 here", "version": ""}
    try:
        return environments.home(registry.find(name))
    except VGGError as error:  # a plug-in that is installed wrongly
        return {"where": f"nowhere: {error}", "version": ""}


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
    """Check the options of ``train`` and return the run that they describe.

    Raises ``VGGError`` when an option is wrong.
    """
    from .runs import train as runs

    systems.check_posix("vgg train")
    changes, setup = _sorted(more)
    changed = {"narrow": narrow, "input_shape": input, "classes": classes}
    out = None if out is None else files.path_of("--out", out)
    if resume is not None:
        source = files.path_of("--resume", resume)
        others = {**setup, **changed, "data": data, "arch": arch, "recipe": recipe}
        return runs.resumed(source, backend, changes, others, out)
    if backend is None or arch is None:
        raise mismatch("vgg train", "no BACKEND and ARCH", "both, or --resume RUN")
    from .process import registry

    registry.find(backend)
    setting = Setup().with_options(setup)
    return runs.begun(backend, _task(arch, recipe, changes, data, changed), setting, out)


def _task(
    arch: Arch, base: str | Recipe | None, changes: Mapping[str, Any], data: str | Path | None, changed: dict[str, Any]
) -> Task:
    task = options.task(arch, options.recipe_of(base, changes), data, **changed)
    size, shape = changes.get("size"), task.spec.input_shape
    if size is not None and shape[1:] != (size, size):
        raise mismatch("recipe.size", size, f"the input's, {shape[1]}x{shape[2]}", "set one of size and input")
    return task


def carry_out(prepared: Prepared, *, progress: bool = True) -> dict[str, Any]:
    """Train the ``prepared`` run and return its summary. Raises what ``train`` raises."""
    from .runs import train as runs

    launched = prepared.group.processes > 1
    with (
        prepared.setup.worker(prepared.entry, launched=launched) as worker,
        _progress(shown=progress and prepared.first) as listener,
    ):
        return runs.train(worker, prepared, listener)


def compare(
    backends: Iterable[str] | None = None,
    arch: Arch | None = None,
    *,
    seeds: int | None = None,
    resume: str | Path | None = None,
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

    The default is ``vgg11_narrow`` in the four backends of this package. Every backend trains ``seeds`` times (default:
    1), with the recipe's seed and those after it; the same seed means the same start and the same batches everywhere.
    Several seeds tell differences from chance. The other options are those of ``train``.

    ``resume`` is the directory of an interrupted comparison, which goes on, or of a finished one, to which greater
    ``seeds`` add runs. All other options are then those of that comparison.

    Raises ``VGGError`` when an option is wrong; the result says which backends failed. On Ctrl-C it raises
    ``vgg.runs.train.Stopped``, which is a ``KeyboardInterrupt``.
    """
    from .runs import compare as runs
    from .runs import results
    from .runs.directory import directory

    systems.check_posix("vgg compare")
    count = _counts(seeds=(seeds, 1, limits.SEEDS)).get("seeds")
    if resume is not None:
        others = {"backends": backends, "arch": arch, "recipe": recipe, "out": out, "data": data, "narrow": narrow}
        place = _resumable(resume, {**others, "input": input, "classes": classes, **more})
        with _progress(shown=progress) as listener:
            return results.Comparison(place, runs.resume(place, count, listener))
    names, (changes, setup) = _backends(backends), _sorted(more)
    setting = Setup(keep=0).with_options(setup)
    changed = {"narrow": narrow, "input_shape": input, "classes": classes}
    task = _task("vgg11_narrow" if arch is None else arch, recipe, changes, data, changed)
    place = options.new_path("compare") if out is None else files.path_of("--out", out)
    with files.no_empty_folder(place), _progress(shown=progress) as listener:
        result = runs.compare(names, directory(place), task, setting, listener, count or 1)
    return results.Comparison(place, result)


def _resumable(place: Any, others: Mapping[str, Any]) -> Path:
    """Return the path of a comparison that goes on. Raises ``VGGError`` when an option in ``others`` is not None."""
    names = [name for name, value in others.items() if value is not None]
    if names:
        do = "the comparison keeps its options"
        raise mismatch("vgg compare --resume", f"{', '.join(names)} too", "at most --seeds", do)
    return files.path_of("--resume", place)


def check(
    backends: Iterable[str] | None = None,
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
    html: str | Path | None = None,
) -> Check:
    """Run the conformance suite on each of ``backends``, by default the four of this package.

    ``select`` is an expression for pytest's ``-k``. ``spec`` is the file of a spec: the backends are judged on it
    alone. ``known`` is a TOML file of known failures. ``junit`` is the file to which JUnit XML is written. ``examples``
    is the number of random specs per backend and ``seed`` the seed that they are drawn from. ``thorough`` adds the
    checks that take longer. ``jobs`` is the number of backends that are judged at the same time. ``timeout`` is in
    seconds. ``html`` is the file to which a page of the results is written. pytest prints on standard output.

    Raises ``VGGError`` when an option is wrong; the result says which checks failed.
    """
    systems.check_posix("vgg check")
    from .conformance import known as known_failures
    from .conformance.run import run
    from .runs import results

    names, where = _backends(backends), Setup(env=env, timeout=timeout, device=device, replicas=replicas)
    settings = {name: getattr(where, name) for name in ("env", "timeout", "device", "replicas")}
    settings |= _counts(examples=(examples, 1, limits.COUNT), seed=(seed, 0, limits.SEED))
    settings |= _paths(spec=spec, known=known, junit=junit)
    if "spec" in settings:
        Spec.load(settings["spec"])
        for name, value in (("examples", examples), ("seed", seed), ("thorough", thorough or None)):
            if value is not None:
                raise mismatch("--spec", f"--{name} too", "one of them: on a spec alone nothing is drawn or added")
    if "known" in settings:
        known_failures.entries(settings["known"])  # pytest would print the error in its own way
    if "junit" in settings:
        outputs.check_output("--junit", settings["junit"], outputs.JUNIT)
    outputs.check_apart({"--junit": settings.get("junit"), "--html": html})
    page, select = _html(html), None if select is None else _expression(text("-k", select, limits.VALUE))
    arguments = _pytest_options(settings, names, select, thorough=boolean("--thorough", thorough))
    status, outcomes = run(arguments, _jobs(**_counts(jobs=(jobs, 1, limits.COUNT)), settings=settings, names=names))
    board = outcomes.board
    for line in board.lines() if board else ():
        print(line)
    result = board.to_dict() if board else {}
    if result:
        _page(page, conformance=[result])
    return results.Check(status, result, _unjudged(select, board, status))


def bench(
    backends: Iterable[str] | None = None,
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
    html: str | Path | None = None,
    progress: bool = True,
) -> Timings:
    """Time each of ``backends``, by default the four of this package, against its baselines.

    ``workload`` holds names of workloads, by default all. ``rounds`` is the number of measurements of each; ``timeout``
    is in seconds. ``out`` is the file of the result, by default a new one under ``runs/``. ``compare`` is the file of
    an earlier result; the new result then lists what has become slower. ``html`` is the file to which a page of the
    results is written.

    Raises ``VGGError`` when an option is wrong; the result says what failed.
    """
    systems.check_posix("vgg bench")
    from .runs import directory, results
    from .timing import results as timings
    from .timing import run
    from .timing.conditions import Conditions

    names = _backends(backends)
    workload = [workload] if isinstance(workload, str) else workload
    workloads = sequence("--workload", workload, "a list of names", limits.BLOCKS) or run.names()
    for name in workloads:
        if not isinstance(name, str) or name not in run.names():
            raise unknown("workload", name, run.names())
    where, rounds = Setup(env=env, timeout=timeout, device=device), integer("--rounds", rounds, 1)
    if where.device == "auto":
        raise mismatch("--device", "auto", "cpu or gpu: a result is for one of them")
    batch_size = _counts(batch_size=(batch_size, 1, limits.BATCH)).get("batch_size")
    precision = choice("--precision", precision, [name for name in CHOICES["precision"] if name != "float64"])
    conditions = Conditions(device, precision, rounds, env, where.timeout, batch_size)
    outputs.check_apart({"--compare": compare, "--out": out, "--html": html})
    page, old = _html(html), None if compare is None else timings.read(files.path_of("--compare", compare))
    if old:
        timings.check_comparable(old, run.planned(names, workloads, conditions))
    place = options.new_path("bench").with_suffix(".json") if out is None else files.path_of("--out", out)
    with files.no_empty_folder(place.parent), _progress(shown=progress) as listener:
        directory.file(place)
        result = run.run(names, workloads, conditions, listener, lambda partial: directory.write_json(place, partial))
    if old:
        result["regressions"] = timings.regressions(old, result)
        directory.write_json(place, result)
    _page(page, timings=[result])
    slower = [f"slower: {line}" for line in result.get("regressions", ())]
    return results.Timings(place, result, (*timings.failures(result), *slower))


def report(runs: str | Path | Iterable[str | Path], *, out: str | Path = "report.html") -> Path:
    """Write runs and results, from this or other machines, into one HTML page, and return its path.

    Each of ``runs`` is the directory of a run of ``vgg train`` or of a comparison, or a JSON file with the result of
    ``vgg bench`` or of ``vgg check --json``. Runs and comparisons must be of one network. ``out`` is the file of the
    page, which replaces another page, and no other file.

    Raises ``VGGError`` when one of ``runs`` is none of these or cannot be shown, and when ``out`` cannot be written.
    """
    from .report import html
    from .runs.collection import collect

    several = (runs,) if isinstance(runs, (str, Path)) else sequence("runs", runs, "paths", limits.BLOCKS)
    if not several:
        raise mismatch("vgg report", "no RUN", "one or more")
    place = files.path_of("--out", out)
    outputs.check_output("--out", place, outputs.PAGE)
    places = [files.path_of("RUN", run) for run in several]
    text = html.checked_document(collect(places), places)
    files.write_atomically(place, text.encode())
    return place


def _page(path: Path | None, **results: Any) -> None:
    """Write the page of results of ``check`` or ``bench`` to ``path``, if there is one."""
    if path is not None:
        from .report import html

        files.write_atomically(path, html.document(html.Contents(**results)).encode())


def _html(path: str | Path | None) -> Path | None:
    """Return the path of ``--html``. Raises ``VGGError`` when it cannot be written, or holds no page."""
    if path is None:
        return None
    place = files.path_of("--html", path)
    outputs.check_output("--html", place, outputs.PAGE)
    return place


def _backends(names: Iterable[str] | None) -> list[str]:
    """Return the backends of these names without repetitions, or the four of this package for None.

    Raises ``VGGError`` when a name is unknown, or there is none.
    """
    from .process import registry

    if names is None:
        return list(registry.own_names())
    names = (names,) if isinstance(names, str) else sequence("backends", names, "names of backends", limits.BLOCKS)
    if not names:
        raise mismatch("backends", "none", "one or more", "leave the argument out for the four of this package")
    return [*dict.fromkeys(registry.find(name).name for name in names)]


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


def _counts(**counts: tuple[Any, int, int]) -> dict[str, int]:
    """Return those of the integers ``counts``, {name: (value, least, most)}, that are not None."""
    options = {name: f"--{name.replace('_', '-')}" for name in counts}
    return {name: integer(options[name], *count) for name, count in counts.items() if count[0] is not None}


def _paths(**paths: str | Path | None) -> dict[str, Path]:
    """Return those of ``paths`` that are not None."""
    return {name: files.path_of(f"--{name}", path) for name, path in paths.items() if path is not None}


def _jobs(settings: Mapping[str, Any], names: Sequence[str], jobs: int | None = None) -> int:
    """Return how many backends are judged at the same time: one when they would share devices."""
    shared = settings["device"] != "cpu" or settings["replicas"] > 1
    return min(jobs or (1 if shared else systems.cores()), len(names))


def _pytest_options(
    settings: Mapping[str, Any], names: Sequence[str], select: str | None, *, thorough: bool
) -> list[str]:
    """Return the options of ``check`` as arguments for pytest."""
    flags = {name: "--junit-xml" if name == "junit" else f"--vgg-{name}" for name in settings}
    arguments = [f"{flags[name]}={value}" for name, value in settings.items()]
    arguments += ["--vgg-thorough"] if thorough else []
    arguments += [] if select is None else ["-k", select]
    return [*arguments, *(f"--vgg-backend={name}" for name in names)]


def _expression(select: str) -> str:
    """Return ``select``. Raises ``VGGError`` unless it is an expression of pytest's ``-k``.

    pytest itself would notice in each of its processes, after they have started.
    """
    from _pytest.mark.expression import Expression

    def matches(value: bool, _name: str, /, **parameters: object) -> bool:
        if parameters:
            raise ValueError("names take no parameters")
        return value

    if not select.strip():
        raise mismatch("-k", shown(select), "an expression", "leave it out for the whole suite")
    try:
        for value in (False, True):  # both sides of every "and" and "or"
            Expression.compile(select).evaluate(partial(matches, value))
    except Exception as error:
        raise mismatch("-k", shown(select), f"an expression ({error})", "as in -k 'backward and not lrn'") from error
    return select


def _unjudged(select: str | None, board: Board | None, status: int) -> str:
    """Return the reason why there is no verdict, or an empty text when there is one."""
    if board is None or status != 2:
        return ""
    names = [name for name in board.backends if not board.judged(name)[0]]
    if select is None:
        return str(mismatch("vgg check", f"nothing judged of {', '.join(names)}", "at least one cell of each backend"))
    got = f"{select!r}, which leaves nothing to judge of {', '.join(names)}"
    return str(mismatch("-k", got, "an expression that matches a check", "see the rows of vgg check"))
