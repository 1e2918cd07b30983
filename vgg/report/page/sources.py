"""The source of the backends' models, highlighted, with the lines that make a block and those that make the head."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from markupsafe import Markup

from ...process.registry import own_names

_PLAIN = re.compile(r'<span class="k-(?:n|p|o|w|nn|fm|nb|bp|sh|se|err)">([^<]*)</span>')
"""What has the colour of the text needs no element."""


class Source(NamedTuple):
    """The lines of a ``model.py``: (HTML, the part that the line makes: block, head or nothing)."""

    path: str
    lines: list[tuple[Markup, str]]

    @property
    def start(self) -> int:
        """The number of lines before the first that makes a part, blank ones included."""
        return next((i for i, (_, part) in enumerate(self.lines) if part), 0)


def models(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """Return the sources of those backends of this package that ``columns`` name, by backend.

    A plug-in's source is elsewhere, and is left out.
    """
    backends = dict.fromkeys(str(column.get("backend", name)) for name, column in columns.items())
    paths = {name: files("vgg").joinpath(f"backends/{name}/model.py") for name in backends if name in own_names()}
    return {name: _source(name, path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def _source(backend: str, text: str) -> Source:
    marked = made_by(text)
    return Source(
        f"vgg/backends/{backend}/model.py", [(line, marked.get(n, "")) for n, line in enumerate(_highlighted(text), 1)]
    )


def _highlighted(text: str) -> list[Markup]:
    from pygments import highlight  # slow to import
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    formatter = HtmlFormatter(nowrap=True, classprefix="k-")
    spans = _PLAIN.sub(r"\1", highlight(text, PythonLexer(), formatter))
    return [Markup(line) for line in spans.splitlines()]  # noqa: S704 - escaped by Pygments


def made_by(text: str) -> dict[int, str]:
    """Return ``{number of a line: part}`` for the lines of a model's source that make a ``block`` or the ``head``.

    A block is made by ``vgg_block``, by the class that it returns, and by the loop over the blocks. The head is what
    follows that loop, down to the last statement that names the number of classes.
    """
    tree = ast.parse(text)
    lines = {n: "head" for body in _bodies(tree) for statement in _head(body) for n in _lines(statement)}
    lines |= {n: "block" for node in _blocks(tree) for n in _lines(node)}
    return lines


def _blocks(tree: ast.Module) -> Iterator[ast.AST]:
    maker = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "vgg_block"), None)
    if maker is None:
        return
    yield maker
    used = {node.id for one in ast.walk(maker) if isinstance(one, ast.Return) for node in ast.walk(one)
            if isinstance(node, ast.Name)}  # fmt: skip
    yield from (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in used)
    yield from (node for node in ast.walk(tree) if _is_loop(node))


def _is_loop(node: ast.AST) -> bool:
    """Return whether ``node`` is a loop over ``spec.blocks``."""
    return isinstance(node, ast.For) and _names(node.iter, "blocks")


def _head(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of ``body`` that make the head; none unless it has the loop over the blocks."""
    loop = next((i for i, statement in enumerate(body) if _is_loop(statement)), None)
    if loop is None:
        return []
    last = max((i for i, statement in enumerate(body) if _names(statement, "classes")), default=loop)
    return body[loop + 1 : last + 1]


def _names(tree: ast.AST, attribute: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == attribute for node in ast.walk(tree))


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    return (node.body for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.With)))


def _lines(node: Any) -> range:
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
    return range(first, node.end_lineno + 1)
