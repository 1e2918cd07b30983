"""Mutants of a source file, each with one small change that mutmut's operators make; and the reasons why some live.

Not mutated are annotations, aliases of types, docstrings, decorators and the words of a ``raise``.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import libcst as cst
import tomli_w
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

from vgg.core.files import write_atomically

ROOT = Path(__file__).parent.parent
REASONS = Path(__file__).with_name("mutants_reasons.toml")
SURVIVED = "survived"
TOOL = f"mutmut {version('mutmut')}"


@dataclass(frozen=True)
class Mutant:
    """``source`` of a whole file in which the line ``before`` of ``function`` has become ``after``; it is the ``nth``
    of those that read alike.
    """

    file: str
    function: str
    before: str
    after: str
    nth: int = 1
    source: str = field(default="", repr=False, compare=False)

    @property
    def key(self) -> str:
        """The mutant's name, which holds as long as its line and its function's name do."""
        return f"{self.file} {self.function}: {self.before} => {self.after}" + (f" #{self.nth}" if self.nth > 1 else "")


class Reason(NamedTuple):
    """Why a mutant lives, in a line, and of which kind that is.

    ``equivalent``: it computes the same. ``allowed``: what it does otherwise, the contract of a backend leaves open.
    ``unreached``: it differs only where the suite does not run it.
    """

    kind: str
    text: str


@lru_cache(maxsize=4)
def mutants(path: Path, wanted: Callable[[str], bool] = bool) -> tuple[Mutant, ...]:
    """Every mutant of the functions of ``path`` whose name is ``wanted``, no two of the same text."""
    source, alike, seen = path.read_text(), Counter[Mutant](), {path.read_text()}
    functions, unmutated, made = _functions(source), _unmutated(source), []
    for text in _texts(source):
        first, last, before, after = _difference(source, text)
        function = next((name for start, end, name in functions if start <= first <= end), "module")
        if text in seen or not wanted(function) or unmutated.issuperset(range(first, last + 1)):
            continue
        seen.add(text)
        mutant = Mutant(str(path.relative_to(ROOT)), function, before, after, source=text)
        alike[mutant] += 1
        made.append(replace(mutant, nth=alike[mutant]))
    return tuple(made)


def reasons() -> dict[str, Reason]:
    """By key, why mutants that no check kills live."""
    return {
        key: Reason(kind, entry["reason"])
        for kind, entries in tomllib.loads(REASONS.read_text()).items()
        for entry in entries
        for key in _keys(entry)
    }


def _keys(entry: dict[str, Any]) -> dict[str, str]:
    """What each mutant of an entry makes of the line, by the mutant's key."""
    return {Mutant(entry["file"], entry["function"], entry["before"], after).key: after for after in entry["after"]}


def prune(outcomes: Mapping[str, str]) -> list[str]:
    """Take out of the file the reasons of mutants that die, or are none; return the keys that live without one."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for kind, entries in tomllib.loads(REASONS.read_text()).items():
        for entry in entries:
            living = [after for key, after in _keys(entry).items() if outcomes.get(key) == SURVIVED]
            kept.setdefault(kind, []).extend([{**entry, "after": living}] if living else [])
    head = REASONS.read_text().partition("[[")[0]
    write_atomically(REASONS, (head + tomli_w.dumps(kept)).encode())
    return [key for key, outcome in outcomes.items() if outcome == SURVIVED and key not in reasons()]


class _Visitor(MutationVisitor):
    """Mutates decorated functions too: what mutmut cannot run, a whole file can."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, cst.FunctionDef) and super()._skip_node_and_children(node)


def _texts(source: str) -> Iterator[str]:
    """The whole text of everything that the operators make, except what is no Python."""
    wrapper, data = MetadataWrapper(cst.parse_module(source)), source.encode()
    visitor = _Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    spans = wrapper.resolve(ByteSpanPositionProvider)
    for mutation in visitor.mutations:
        span, mutated = spans[mutation.original_node], mutation.mutated_node
        bare = mutated.with_changes(lpar=[], rpar=[]) if getattr(mutated, "lpar", ()) else mutated
        code = wrapper.module.code_for_node(bare)
        code = code.strip() if isinstance(mutated, cst.BaseCompOp) else code
        text = (data[: span.start] + code.encode() + data[span.start + span.length :]).decode()
        if _parses(text):
            yield text


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _difference(source: str, text: str) -> tuple[int, int, str, str]:
    """(first line, last line, what stood there, what stands there now), from 1 and without indentation."""
    old, new = source.splitlines(), text.splitlines()
    first = _common(old, new)
    same = min(_common(old[::-1], new[::-1]), len(old) - first, len(new) - first)
    before, after = (" ".join(map(str.strip, lines[first : len(lines) - same])) for lines in (old, new))
    return first + 1, len(old) - same, before, after


def _common(one: list[str], other: list[str]) -> int:
    """How many lines both begin with."""
    return next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _functions(source: str) -> list[tuple[int, int, str]]:
    """(first line, last line, qualified name) of every function and class, the inner ones first."""

    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[int, int, str]]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}".lstrip(".")
            yield from inside(child, name)
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield child.lineno, child.end_lineno or child.lineno, name

    return list(inside(ast.parse(source), ""))


def _unmutated(source: str) -> set[int]:
    """The lines of every ``raise``, and of what a module calls a type."""
    tree = ast.parse(source)
    aliases = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)]
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {line for node in (*aliases, *raised) for line in range(node.lineno, (node.end_lineno or 0) + 1)}
