"""A network as plain source in one framework, with no vgg in it: what ``vgg code`` prints.

Each backend has a template. It gets ``title`` (the spec's name, safe in a docstring), ``spec``, ``net`` (the spec in a
script's words, see ``notation``), ``recipe`` and ``data`` (the dataset's files; both None unless the script trains),
and ``weights`` (the path as a literal, or None).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import VGGError, mismatch
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process import registry
from .layout import laid_out, quoted
from .notation import Notation
from .plan import Data, check_fit, files_of

if TYPE_CHECKING:
    from jinja2 import Template

    from ..process.registry import Entry

__all__ = ["SUFFIX", "Data", "files_of", "rendered", "source", "template_of"]
SUFFIX = ".py.jinja"
"""How the names of templates end."""


def template_of(entry: Entry) -> Path | None:
    """Return the template of a backend, or None when it has none.

    That of a plug-in lies beside its module: ``mine.py.jinja`` beside ``mine.py``, or in the package ``mine``.
    """
    own = Path(__file__).with_name(entry.name + SUFFIX)
    return own if entry.module == f"vgg.backends.{entry.name}" else registry.beside(entry.module, SUFFIX)


def source(entry: Entry, spec: Spec, *, recipe: Recipe | None = None, weights: str | Path | None = None) -> str:
    """Return ``spec`` as the source of a script for the framework of ``entry``.

    With a ``recipe`` the script also trains. ``weights`` is the path of canonical weights that it loads. Raises
    ``VGGError`` when the backend offers no code, or when a script cannot do what the recipe says.
    """
    path = template_of(entry)
    if path is None:
        raise mismatch("vgg code", f"{entry.name}, which offers no code", "a backend with a template", _OFFER)
    try:
        template = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VGGError(f"{path}: cannot be read as a template ({error})") from error
    return rendered(template, spec, recipe, weights, where=entry.name)


_OFFER = "see docs/backends.md"


def rendered(
    template: str, spec: Spec, recipe: Recipe | None = None, weights: str | Path | None = None, *, where: str = ""
) -> str:
    """Return the script that ``template`` makes of ``spec``, in lines of 88 characters as ``ruff format`` wraps them.

    Raises ``VGGError``, in which ``where`` names the backend, when the template fails.
    """
    data = files_of(recipe) if recipe else None
    if data:
        check_fit(spec, data)
    path = None if weights is None else quoted(str(weights))
    words = {"title": _title(spec), "net": Notation(spec), "spec": spec, "recipe": recipe, "data": data}
    try:
        text = _compiled(template).render(**words, weights=path)
    except Exception as error:  # a template is a plug-in's code
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise VGGError(f"{where}: its template of code fails: {reason}") from error
    return laid_out(text)


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to import

    environment = Environment(  # noqa: S701 - it makes no HTML
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(template)


def _title(spec: Spec) -> str:
    """Return the spec's name without characters that could end a docstring or a line, 40 at most."""
    return re.sub(r"[^\w.+-]+", "_", spec.name)[:40].strip("_") or "custom"
