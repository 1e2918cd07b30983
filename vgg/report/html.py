"""The HTML page: of a comparison, of one run, of several runs, of the suite's results, and of timings.

One file, which needs no other file and no network. ``vgg.report.page`` makes its parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import BackendError, VGGError
from ..core.texts import one_line, printable, shortened
from . import HERE, template

FOLDER = HERE / "page"
OWN = {"style": "style.css", "script": "sort.js"}
"""The only code of a page: how it looks, and a script that sorts its tables, without which it can be read too."""
EXACT = 2**53
"""Below it, a float without a fraction is the same number as the integer."""


@dataclass(frozen=True)
class Contents:
    """What a page shows.

    ``comparison`` is the contents of ``compare.json``; for runs without a proof it has the same form without ``ok``.
    ``runs`` maps each of its backends to its run directory. ``timings`` and ``conformance`` are results of
    ``vgg bench`` and ``vgg check``.
    """

    comparison: Mapping[str, Any] | None = None
    runs: Mapping[str, Path] = field(default_factory=dict)
    timings: Sequence[Mapping[str, Any]] = ()
    conformance: Sequence[Mapping[str, Any]] = ()


def page(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    """Return the HTML text of the page about a comparison or about one run.

    ``result`` is the contents of ``compare.json``. For a single run it has the same form, except that it lacks ``ok``
    and the results of the proof. ``runs`` maps each backend to its run directory, whose files are shown. Raises
    ``VGGError``, which names the file and the field, when one of these is not as vgg wrote it.
    """
    return document(Contents(result, runs))


def checked_document(contents: Contents, places: Sequence[Path]) -> str:
    """Return ``document(contents)``, made of what is at ``places``.

    Raises ``VGGError`` when that cannot be shown, whatever is wrong: it may come from other machines and versions, so
    that not every field can be known here.
    """
    try:
        return document(contents)
    except VGGError:
        raise
    except Exception as error:
        reason = shortened(printable(f"{type(error).__name__}: {error}"))
        several = "name them one by one to see which"
        do = several if len(places) > 1 else "make it again with this version of vgg"
        raise VGGError(
            f"{one_line(', '.join(map(str, places)))}: cannot be shown ({one_line(reason)}); {do}"
        ) from error


def checked_page(result: Mapping[str, Any], runs: Mapping[str, Path]) -> str:
    """Return ``page(result, runs)``.

    Raises ``BackendError`` when it cannot be made: workers write the run directories, and may write anything there.
    """
    try:
        text = page(result, runs)
        text.encode()
    except VGGError as error:
        raise BackendError(str(error)) from error
    except Exception as error:
        raise _not_shown(runs, error) from error
    return text


def check(result: Mapping[str, Any], runs: Mapping[str, Path]) -> None:
    """Raise ``BackendError`` unless the files of ``runs`` can be shown. They are read, and no page is made."""
    from .page import files  # NumPy is slow to import, and `vgg show` needs none

    try:
        for name, run in runs.items():
            files.check(result["backends"][name], run)
    except VGGError as error:
        raise BackendError(str(error)) from error
    except Exception as error:
        raise _not_shown(runs, error) from error


def _not_shown(runs: Mapping[str, Path], error: Exception) -> BackendError:
    places, reason = ", ".join(map(str, runs.values())), shortened(printable(f"{type(error).__name__}: {error}"))
    return BackendError(f"{places}: the files cannot be shown ({reason}); train again")


def document(contents: Contents) -> str:
    """Return the HTML text of a page. Raises ``VGGError`` as ``page`` does.

    Names and texts may hold anything. Whatever is not printable, such as a control or bidirectional character, is an
    escape in the finished text, so that none can be in a page.
    """
    from .page import comparison, others

    own = {name: (FOLDER / file).read_text(encoding="utf-8") for name, file in OWN.items()}
    parts: dict[str, Any] = {"comparison": None, **own}
    if contents.comparison is not None:
        parts["comparison"] = comparison.parts(_stored(contents.comparison), contents.runs)
    parts["timings"] = [others.timing(_stored(result)) for result in contents.timings]
    parts["conformance"] = [others.conformance(_stored(result)) for result in contents.conformance]
    parts["tabs"] = len(contents.comparison["backends"]) if contents.comparison else 1
    return printable(template("page.html.jinja", FOLDER).render(parts), "\n")


def _stored(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``result`` as its file gives it back, so that a page does not tell a result from its file.

    A tuple becomes a list, and 900.0 becomes 900: a resumed comparison has read them from its file.
    """
    stored: dict[str, Any] = json.loads(json.dumps(result, default=str), parse_float=_number)
    return stored


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < EXACT else value
