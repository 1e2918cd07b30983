"""The Sphinx extension of the documentation: tabs of snippets, output of commands, numbers and tables.

It runs no framework. Snippets come with the output that ``tools/snippets.py`` has stored; commands are those that need
no framework (``vgg show``, ``vgg code``); numbers come from ``lesson_numbers``.

- ``{snippet} TOPIC`` shows a topic in tabs, one per framework, each with its output. A tab whose framework has no
  snippet says why. Options: ``part`` shows one function or class only; ``quiet`` leaves out the output; ``together``
  shows the outputs of all frameworks in one table below the tabs, not in them.
- ``{proof} TOPIC`` shows a snippet that needs vgg and NumPy only.
- ``{repro} FRAMEWORK FUNCTION`` shows a function of ``docs/repro`` and its output.
- ``{vgg} ARGUMENTS`` shows the command and its output.
- ``{lesson-table} NAME`` shows a table, and the role ``{n}`` a number.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import commands_page
import lesson_numbers
import snippets
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from tabs import FRAMEWORKS

from vgg.cli import main

FENCE = "`" * 4


class Generated(SphinxDirective):
    """A directive whose Markdown is made by ``lines`` and read like that of a page."""

    required_arguments = 1
    final_argument_whitespace = True

    def lines(self) -> Iterator[str]:
        """Yield the lines of Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the lines. What is wrong with an argument is an error of the page."""
        parent = nodes.Element()
        try:
            lines = list(self.lines())
        except (KeyError, AttributeError, ValueError, StopIteration) as error:
            raise self.error(f"{self.name} {self.arguments[0]}: {type(error).__name__} {error}") from error
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, parent)
        return list(parent.children)


def block(language: str, text: str) -> list[str]:
    """Return the lines of a block of code."""
    return [f"{FENCE}{language}", *text.rstrip("\n").splitlines(), FENCE]


def table(columns: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table. Columns of numbers are aligned at the right."""
    numeric = [all(re.fullmatch(r"[\d,.]+%?", row[i]) for row in rows) for i in range(len(columns))]
    for row in (columns, ["---:" if right else "---" for right in numeric], *rows):
        yield "| " + " | ".join(row) + " |"


def result(snippet: snippets.Snippet, *, short: bool = False) -> list[str]:
    """Return the lines that show what a snippet printed, or why there is nothing; if ``short`` the versions only."""
    entry = snippets.outputs().get(snippet.name)
    if entry is None and not snippet.needs:
        raise ValueError(f"{snippet.name} has no output: run tools/snippets.py")
    if entry is None:
        return [f"*It was not run for this page: it needs a {snippet.needs.upper()}.*"]
    versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    return [*(() if short else block("text", entry["output"])), f"*It was run with {versions}.*"]


class Tabs(Generated):
    """``{snippet} TOPIC``."""

    option_spec: ClassVar[Any] = {
        "part": directives.unchanged_required,
        "quiet": directives.flag,
        "together": directives.flag,
    }

    def lines(self) -> Iterator[str]:
        """Yield one tab per framework."""
        yield from (":::::{tab-set}", ":sync-group: framework", "")
        for framework, label in FRAMEWORKS.items():
            yield from (f"::::{{tab-item}} {label}", f":sync: {framework}", "")
            yield from self.tab(framework)
            yield from ("::::", "")
        yield from (":::::", "")
        if "together" in self.options:
            rows = [[label, self.cell(framework)] for framework, label in FRAMEWORKS.items()]
            yield from table(["framework", "prints"], rows)

    def cell(self, framework: str) -> str:
        """Return the output of one framework as the cell of a table."""
        topic = self.arguments[0]
        entry = snippets.outputs().get(f"{topic}/{framework}")
        if entry is None:
            reason = str(snippets.about(topic)["absent"][framework])
            return reason.partition(". ")[0].rstrip(".") + "."
        return "<br>".join(f"`{line.strip()}`" for line in entry["output"].splitlines())

    def tab(self, framework: str) -> list[str]:
        """Return the lines of one tab."""
        topic = self.arguments[0]
        snippet = snippets.all_snippets().get(f"{topic}/{framework}")
        if snippet is None:
            return [snippets.about(topic)["absent"][framework]]
        self.env.note_dependency(str(snippet.path))
        self.env.note_dependency(str(snippets.OUTPUTS))
        part = self.options.get("part")
        parts = shlex.split(part) if part else []
        name = next((name for name in parts if f" {name}(" in snippet.code), None) if part else None
        code = snippets.part(snippet.code, name) if name else snippet.code
        output = () if "quiet" in self.options else result(snippet, short="together" in self.options)
        return [*block("python", code), *output]


class Proof(Generated):
    """``{proof} TOPIC``."""

    def lines(self) -> Iterator[str]:
        """Yield the snippet and its output."""
        snippet = snippets.all_snippets()[f"{self.arguments[0]}/{snippets.PLAIN}"]
        self.env.note_dependency(str(snippet.path))
        yield from block("python", snippet.code)
        yield from result(snippet)


class Repro(Generated):
    """``{repro} FRAMEWORK FUNCTION``."""

    def lines(self) -> Iterator[str]:
        """Yield the function and its output."""
        framework, function = self.arguments[0].split()
        snippet = snippets.all_snippets()[f"repro.{function}/{framework}"]
        self.env.note_dependency(str(snippet.path))
        yield from block("python", snippet.code)
        yield from result(snippet)


class Command(Generated):
    """``{vgg} ARGUMENTS``; the option ``status`` is the exit status that is wanted in place of 0."""

    option_spec: ClassVar[Any] = {"status": directives.nonnegative_int}

    def lines(self) -> Iterator[str]:
        """Yield the command and what it prints."""
        status = self.options.get("status", 0)
        yield from block("console", f"$ vgg {self.arguments[0]}\n{printed(shlex.split(self.arguments[0]), status)}")


def printed(arguments: Sequence[str], wanted: int = 0) -> str:
    """Return what ``vgg`` with these arguments prints. Raises ``ValueError`` when its exit status is not ``wanted``."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(list(arguments))
    if status != wanted:
        raise ValueError(f"vgg {shlex.join(arguments)} ends with {status}")
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()).strip("\n")


class Table(Generated):
    """``{lesson-table} NAME``."""

    def lines(self) -> Iterator[str]:
        """Yield a table in Markdown."""
        yield from table(*lesson_numbers.TABLES[self.arguments[0]]())


class Number(SphinxRole):
    """``{n}`` and a template of ``lesson_numbers.text``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as text."""
        try:
            return [nodes.Text(lesson_numbers.text(self.text))], []
        except (KeyError, AttributeError, ValueError, IndexError) as error:
            message = self.inliner.reporter.error(f"no number {self.text}: {error}", line=self.lineno)
            return [], [message]


def expanded(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the reference of the commands into its page."""
    if name == "reference/commands":
        source[0] = source[0].replace(commands_page.PLACE, commands_page.page())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives, the role and the page of the commands."""
    for name, directive in (
        ("snippet", Tabs),
        ("proof", Proof),
        ("repro", Repro),
        ("vgg", Command),
        ("lesson-table", Table),
    ):
        app.add_directive(name, directive)
    app.add_role("n", Number())
    app.connect("source-read", expanded)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
