"""The rest of an interrupted comparison: everything that its directory holds is checked before anything goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from ..core import limits
from ..core.errors import VGGError, mismatch, within
from ..core.files import read_object
from ..core.recipe import FIELDS as RECIPE_FIELDS
from ..core.recipe import Recipe
from ..core.spec import FIELDS as SPEC_FIELDS
from ..core.spec import Spec
from ..process import registry
from ..process.documents import DO, Machine, check_numbers, converted
from ..process.provenance import provenance
from ..process.replies import recorded
from ..process.schema import Count, Facts, Summary
from ..training.checkpoints import Checkpoints
from . import directory, options
from .evidence import CHANGED, check_digests, check_first, check_proof, check_seeds
from .options import Setup, Task
from .record import NAME, Record
from .schedule import Schedule, seeds_from


class _Options(Struct):
    backends: list[str]
    data: str | None
    digest: str
    device: str
    env: str
    timeout: float
    replicas: int
    deterministic: bool
    keep: int
    every: int
    tensorboard: bool


class _Column(Struct):
    ok: bool
    runs: dict[str, Any]
    digests: dict[str, dict[str, str]]
    failures: dict[str, str]
    error: str = ""


class _Proven(Summary):
    facts: Facts
    ok: bool
    reason: str
    layers: int | None
    layers_agreeing: int | None
    parameters: int | None
    logits_error: float | None
    gradient_error: float | None
    structure_at: list[Count] = field(default_factory=list)
    proven_at: list[list[Count]] = field(default_factory=list)


class _Contents(Struct):
    date: str
    vgg: str
    commit: str | None
    machine: Machine
    spec: dict[str, Any]
    recipe: dict[str, Any]
    seeds: list[Count]
    options: _Options
    backends: dict[str, _Column]


def read(place: Path, count: int | None) -> Record:
    """Return the record of the comparison at ``place``, with ``count`` seeds if that is not None.

    Raises ``VGGError``, which names the file and the field, when the directory does not hold a comparison, when one of
    its finished runs or its data were changed, when the machine is another, or when ``count`` is too small.
    """
    file = place / NAME
    result = read_object(file)
    with within(file):
        check_numbers(result)
        contents = converted(result, _Contents)
        _check_fields(result, contents)
    if count is not None and count < len(contents.seeds):
        raise mismatch("--seeds", count, f"at least {len(contents.seeds)}, those that the comparison has")
    with within(file):
        schedule = _schedule(place, contents, count or len(contents.seeds))
    _check_machine(file, contents.machine)
    if schedule.digest != contents.options.digest:
        got, wanted = schedule.digest[:12], contents.options.digest[:12]
        raise mismatch(f"{file}: options.digest", f"data with the digest {got}", wanted, "put the data back")
    record = Record(schedule, result)
    for name, seed in schedule.order():
        _check_run(record, name, seed)
    return record


def check_comparison(place: Path) -> None:
    """Raise ``VGGError`` when ``place`` is not the directory of a comparison."""
    if not os.path.lexists(place / NAME):
        raise VGGError(f"{place}: not a comparison (no {NAME} in it can be read); name one that vgg compare made")


def _check_fields(result: dict[str, Any], contents: _Contents) -> None:
    """Raise ``VGGError`` unless the fields fit one another."""
    names, seeds = contents.options.backends, contents.seeds
    if not names or len(names) != len({*names}) or not {*contents.backends} <= {*names}:
        raise mismatch("options.backends", names, f"{', '.join(contents.backends)} and others, once each", DO)
    if not 0 < len(seeds) <= limits.SEEDS or seeds != [*range(seeds[0], seeds[0] + len(seeds))]:
        raise mismatch("seeds", seeds, "integers that follow one another", DO)
    with _of_file():
        spec = Spec.from_dict(contents.spec)
    for name in contents.backends:
        with within(f"backends.{name}"):
            check_seeds(result["backends"][name], seeds)
        for seed, summary in result["backends"][name]["runs"].items():
            with within(f"backends.{name}.runs.{seed}"):
                recorded("train", summary)
        with within(f"backends.{name}"):
            _check_column(spec, result["backends"][name], str(seeds[0]))


def _check_column(spec: Spec, column: dict[str, Any], first: str) -> None:
    """Raise ``VGGError`` unless a column is that of its first run, and its proof one of ``spec``."""
    if "facts" not in column:
        return
    converted(column, _Proven)
    recorded("facts", column["facts"])
    check_first(column, first)
    check_proof(spec, column)


def _schedule(place: Path, contents: _Contents, count: int) -> Schedule:
    """Return the schedule that ``compare.json`` describes, with ``count`` seeds."""
    directory.check_complete("spec", contents.spec, SPEC_FIELDS)
    directory.check_complete("recipe", contents.recipe, RECIPE_FIELDS)
    about = contents.options
    with _of_file():
        spec, plan = Spec.from_dict(contents.spec), Recipe.from_dict(contents.recipe)
        setup = Setup().with_options(msgspec.structs.asdict(about))
    if contents.seeds[0] != plan.seed:
        raise mismatch("seeds", contents.seeds[0], f"{plan.seed}, the recipe's, as the first", DO)
    names = tuple(registry.find(name).name for name in about.backends)
    task = Task(spec, plan, *options.read_data(plan, about.data))
    options.check_fit(spec, plan, task.dataset)
    return Schedule(place, names, seeds_from(plan.seed, count), task, setup)


@contextmanager
def _of_file() -> Iterator[None]:
    """Let every ``VGGError`` of the block name the field of the file, not the option that sets it, and what to do."""
    try:
        yield
    except VGGError as error:
        raise VGGError(f"{re.sub('^--', 'options.', str(error))}; {DO}") from error


def _check_machine(file: Path, machine: Machine) -> None:
    """Raise ``VGGError`` on another machine, whose images/s could not be paired with those of the finished runs."""
    here = provenance()["machine"]
    for name in ("system", "cpu", "cores", "gpus"):
        got, wanted = here.get(name, []), getattr(machine, name)
        if got != wanted:
            raise mismatch(f"{file}: machine.{name}", got, wanted, "go on where the comparison began, or start anew")


def _check_run(record: Record, name: str, seed: int) -> None:
    """Raise ``VGGError`` when a finished run, or one with a checkpoint, is not the one that the comparison wants."""
    schedule, path = record.schedule, record.schedule.location(name, seed)
    if not record.has(name, seed) and not Checkpoints(path, 0).paths():
        return
    run, file = directory.read(path), path / "run.json"
    wanted = {"backend": name, "data": schedule.task.data, **schedule.setup.recorded()}
    _check_equal(file, "", run, wanted)
    _check_equal(file, "spec.", run["spec"].to_dict(), schedule.task.spec.to_dict())
    _check_equal(file, "recipe.", run["recipe"].to_dict(), {**schedule.task.recipe.to_dict(), "seed": seed})
    if record.has(name, seed):
        column = record.result["backends"][name]
        written = run["summary"] or {}  # without what the worker measured after it
        summary = {field: value for field, value in column["runs"][str(seed)].items() if field in written}
        _check_equal(file, "summary.", written, summary)
        check_digests(path, column["digests"][str(seed)])


def _check_equal(file: Path, prefix: str, got: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if got.get(name) != value:
            raise mismatch(f"{file}: {prefix}{name}", str(got.get(name))[:100], str(value)[:100], CHANGED)


def prepare(record: Record) -> list[Path]:
    """Make room for the runs that are still to be trained, and return where unfinished ones have been put.

    Raises ``VGGError`` when files cannot be moved, or another process is using them.
    """
    record.save()
    record.schedule.spread()
    left = [record.schedule.put_aside(*one) for one in record.pending() if not record.has(*one)]
    return [path for path in left if path]
