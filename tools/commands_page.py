"""The reference of the commands, in Markdown, made from the parser of ``vgg`` itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from vgg.cli.parser import COMMANDS, parser

PLACE = "<!-- the commands -->"
"""The line of the page that the reference takes the place of."""
_COMMON = ("help", "json", "debug")


def page() -> str:
    """Return the sections of all commands."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    choices = subcommands()
    for name, module in COMMANDS.items():
        command = choices[name]
        yield from (f"## vgg {name}", "", f"{command.description}", "", "```console", f"$ {module.EXAMPLE}", "```", "")
        yield from ("| argument | meaning |", "| --- | --- |")
        for action in command._actions:  # noqa: SLF001 - argparse shows them in no other way
            if action.dest not in _COMMON:
                yield f"| {_names(action)} | {_meaning(action)} |"
        yield ""


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by name."""
    actions = parser()._actions  # noqa: SLF001
    return dict(next(a.choices for a in actions if isinstance(a, argparse._SubParsersAction)))  # noqa: SLF001


def _names(action: argparse.Action) -> str:
    values = "" if action.nargs == 0 else f" {_values(action)}"
    if not action.option_strings:
        return f"`{_values(action)}{' ...' if action.nargs == '*' else ''}`"
    return ", ".join(f"`{name}{values}`" for name in action.option_strings)


def _values(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else None
    return metavar or ("\\|".join(map(str, action.choices)) if action.choices else action.dest.upper())


def _meaning(action: argparse.Action) -> str:
    return (action.help or "").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
