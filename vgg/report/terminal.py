"""Output of the commands in a terminal: tables and progress."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ..core.block_table import BlockRow, counted, layers_text, widths_text
from ..core.layers import Layer, Totals
from ..core.spec import Spec
from ..core.texts import printable
from .rows import failures, notes, pair_rows, size, texts

FLOAT32 = 4
"""Bytes per number."""
RECENT = 20
"""The number of steps, all of one epoch, over which loss and images/s are averaged during training."""


def listing(counts: Mapping[str, Mapping[str, int]], homes: Mapping[str, Mapping[str, str]]) -> None:
    """Print the tables of ``vgg list``."""
    table = _table("architecture", "parameters", "MACs")
    for name, total in counts.items():
        _row(table, name, f"{total['params']:,}", f"{total['macs']:,}")
    _print(table)
    table = _table("backend", "where", "version", right=0)
    for name, home in homes.items():
        _row(table, name, home["where"], home["version"])
    _print(table)


def environments(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print the table of ``vgg env``."""
    table = _table("environment", "where", "version", "built", "size", right=0)
    for row in rows:
        texts = [row["built"][:10], size(row["size"])] if row["built"] else ["no", ""]
        table.add_row(row["name"], row["where"], row["version"], *texts)
    _print(table)


def layer_rows(rows: Sequence[Layer]) -> tuple[list[str], list[list[str]]]:
    """Return (names of the columns, rows of texts) of the layer table."""
    texts = []
    for row in rows:
        memory = math.prod(row.output_shape) * FLOAT32
        counts = (f"{count:,}" if count else "" for count in (row.params, row.macs))
        texts.append([row.name, row.kind, "x".join(map(str, row.output_shape)), *counts, size(memory)])
    return ["layer", "kind", "output", "parameters", "MACs", "activation"], texts


def block_rows(rows: Sequence[BlockRow]) -> tuple[list[str], list[list[str]]]:
    """Return (names of the columns, rows of texts) of the block table."""
    texts = []
    for row in rows:
        shapes = ("x".join(map(str, shape)) for shape in (row.input_shape, row.output_shape))
        texts.append([row.name, *shapes, layers_text(row), widths_text(row), f"{row.params:,}", f"{row.macs:,}"])
    return ["block", "input", "output", "layers", "widths", "parameters", "MACs"], texts


def title(spec: Spec) -> str:
    """Return one line about the network: its name, its input shape and its classes."""
    return f"{printable(spec.name)}: {'x'.join(map(str, spec.input_shape))} -> {spec.classes}"


def layer_table(spec: Spec, rows: Sequence[Layer], totals: Totals) -> None:
    """Print the layer table and the sums of ``vgg show``."""
    _titled(spec, *layer_rows(rows))
    _sums(totals)


def block_table(spec: Spec, rows: tuple[BlockRow, ...], totals: Totals) -> None:
    """Print the block table of ``vgg show --blocks``, where its layers with weights are, and the sums."""
    _titled(spec, *block_rows(rows))
    print(counted(rows))
    _sums(totals)


def _titled(spec: Spec, columns: Sequence[str], texts: Iterable[Sequence[str]]) -> None:
    table = _table(*columns)
    for text in texts:
        _row(table, *text)
    table.title = title(spec)
    _print(table)


def _sums(totals: Totals) -> None:
    print(f"parameters  {totals.params:,} ({size(totals.params * FLOAT32)} in float32)")
    print(f"MACs        {totals.macs:,} per image; FLOPs {2 * totals.macs:,}")
    print(f"activations {totals.activations:,} ({size(totals.activations * FLOAT32)} per image in float32)")
    params, macs = totals.conv_params / totals.params, totals.conv_macs / totals.macs
    print(f"share of parameters: convolutions {params:.1%}, dense layers {1 - params:.1%}")
    print(f"share of MACs:       convolutions {macs:.1%}, dense layers {1 - macs:.1%}")


def comparison(result: Mapping[str, Any]) -> None:
    """Print the tables of ``vgg compare`` and what they do not say; the errors of failed runs go to standard error."""
    table = _table("", *result["backends"])
    for row, cells in texts(result).items():
        _row(table, row, *cells)
    _print(table)
    columns, rows = pair_rows(result)
    if rows:
        pairs = _table(*columns, right=0)
        for cells in rows:
            _row(pairs, *cells)
        _print(pairs)
    for note in notes(result):
        print(printable(note))
    for line in failures(result):
        print(f"vgg: {printable(line, chr(10))}", file=sys.stderr)


def timings(tables: Iterable[tuple[str, list[str], list[list[str]]]]) -> None:
    """Print the tables (title, columns, rows) of ``vgg bench``."""
    for title, columns, rows in tables:
        table = _table(*columns)
        table.title = printable(title)
        for row in rows:
            _row(table, *row)
        _print(table)


class Progress:
    """A ``Listener`` that shows bars on a terminal and prints lines elsewhere, always on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=_console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._plain = not quiet and not sys.stderr.isatty()
        self._task: Any = None
        self._steps: deque[tuple[float, int, int, float]] = deque(maxlen=RECENT)
        self._sizes: set[int] = set()
        self._accuracy = ""
        self._epoch = 0, 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, backend: str, what: str, total: int | None = None) -> None:
        """Show that ``backend`` begins the work ``what``, which has ``total`` steps, if that is known."""
        self._steps.clear()
        self._sizes.clear()
        self._accuracy = ""
        if self._task is not None:
            self._bar.remove_task(self._task)
        about = printable(f"{backend}: {what}")
        self._task = self._bar.add_task(about, total=total, note="")
        if self._plain:
            print(about, file=sys.stderr, flush=True)

    def event(self, backend: str, event: Mapping[str, Any]) -> None:
        """Show a training step, or the evaluation after an epoch. An empty event is only a sign of life."""
        if not event:
            return
        if "round" in event:
            self._bar.update(self._task, completed=event["round"])
            return
        if "loss" in event:
            if not self._steps:  # the earlier steps of a resumed run do not count for its speed
                self._bar.reset(self._task, completed=event["number"] - 1)
            elif event.get("step") == 0:
                self._steps.clear()
            if not self._steps:
                self._epoch = 0, 0.0
            compiles = event["images"] not in self._sizes
            self._sizes.add(event["images"])
            timed = (0, 0.0) if compiles else (event["images"], event["seconds"])
            self._epoch = self._epoch[0] + timed[0], self._epoch[1] + timed[1]
            self._steps.append((event["loss"], event["images"], *timed))
            note = f"loss {self._loss():.4f}  {self._accuracy}  {self._rate()}"
            self._bar.update(self._task, completed=event["number"], note=note)
            return
        name = "validation" if "validation_loss" in event else "test"
        self._accuracy = f"accuracy {event[f'{name}_accuracy']:.4f}"
        if self._plain:
            rate = f"{self._epoch[0] / self._epoch[1]:.0f} images/s, " if self._steps and self._epoch[1] else ""
            results = f"training loss {event['training_loss']:.4f}, {rate}{name} loss {event[f'{name}_loss']:.4f}"
            results = f"{results}, {self._accuracy}"
            print(f"{printable(backend)}: epoch {event['epoch'] + 1}: {results}", file=sys.stderr, flush=True)

    def _loss(self) -> float:
        """Return the mean loss per image."""
        return sum(loss * images for loss, images, *_ in self._steps) / sum(images for _, images, *_ in self._steps)

    def _rate(self) -> str:
        """Return images/s, without the first step of each batch size, which may compile."""
        seconds = sum(seconds for *_, seconds in self._steps)
        return f"{sum(images for *_, images, _ in self._steps) / seconds:.0f} images/s" if seconds else ""


def _table(*columns: str, right: int = 1) -> Table:
    table = Table(box=box.SIMPLE, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(printable(column), justify="right" if right and i else "left", overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Add a row whose texts may hold anything: a terminal only shows them."""
    table.add_row(*(printable(cell, "\n") for cell in cells))


def _console(**options: Any) -> Console:
    """Return a console that prints texts as they are: it reads no markup, so that ``[/x]`` is only a text."""
    return Console(highlight=False, markup=False, emoji=False, **options)


def _print(table: Table) -> None:
    """Print ``table``, wide enough for whole words and numbers if the output is not a terminal."""
    console = _console()
    console.print(table) if console.is_terminal else _console(width=160).print(table)
