"""The layout of a script: strings and long lines as ``ruff format`` writes them."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

WIDTH = 88
"""The most characters of a line; ruff's default, so that nobody's ``ruff format`` changes a script."""


def quoted(text: str) -> str:
    """Return a Python string literal in ASCII, in double quotes unless single ones need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    body = text.encode("unicode_escape").decode("ascii")
    return quote + body.replace(quote, "\\" + quote) + quote


def laid_out(text: str) -> str:
    """Return ``text`` with every line split that is too long and ends with a bracket.

    The arguments of a call get one line if they fit; else they, and all items of a tuple, get one line each.
    """
    return "\n".join(part for line in text.split("\n") for part in _split(line))


def _split(line: str) -> Iterator[str]:
    brackets = _last_brackets(line) if len(line) > WIDTH else None
    if not brackets:
        yield line
        return
    start, commas, end, loop = brackets
    indent = " " * (len(line) - len(line.lstrip()))
    items = [line[low + 1 : high].strip() for low, high in zip((start, *commas), (*commas, end), strict=True)]
    yield line[: start + 1]
    together = f"{indent}    {', '.join(filter(None, items))}"
    if loop or (line[start - 1].isidentifier() and len(together) <= WIDTH):
        yield together
    else:
        for item in filter(None, items):
            yield from _split(f"{indent}    {item},")
    yield indent + line[end:]


def _last_brackets(line: str) -> tuple[int, list[int], int, bool] | None:
    """Return the columns of the last pair of brackets and of the commas directly in it; None if no pair ends the line.

    Only a comma or a colon may follow the pair. The last value is whether the pair holds a comprehension.
    """
    open_brackets: list[tuple[int, list[int]]] = []
    last, loops = None, set()
    stripped = line.lstrip()
    offset = len(line) - len(stripped)
    for token in _tokens(stripped):
        column = token.start[1] + offset
        if token.string in ("(", "[", "{"):
            open_brackets.append((column, []))
        elif token.string in (")", "]", "}") and open_brackets:
            start, commas = open_brackets.pop()
            last = (start, commas, column, start in loops)
        elif token.string == "," and open_brackets:
            open_brackets[-1][1].append(column)
        elif token.string == "for" and open_brackets:
            loops.add(open_brackets[-1][0])
    return last if last and line[last[2] + 1 :] in ("", ",", ":") else None


def _tokens(line: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(line).readline)
    except (tokenize.TokenError, SyntaxError):
        return  # the rest of a statement or of a docstring
