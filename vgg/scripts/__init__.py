"""A network as plain source in one framework, with no vgg in it: what ``vgg code`` prints.

Each backend has a template. It gets ``title`` (the spec's name, safe in a docstring), ``spec``, ``net`` (the spec in a
script's words, see ``notation``), ``recipe`` and ``data`` (the dataset's files; both None unless the script trains),
and ``weights`` (the path as a literal, or None).
"""

from __future__ import annotations

import re
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
    template = template_of(entry)
    if template is None:
        raise mismatch("vgg code", f"{entry.name}, which offers no code", "a backend with a template, see vgg list")
    return rendered(template.read_text(encoding="utf-8"), spec, recipe, weights, where=entry.name)


def rendered(
    template: str, spec: Spec, recipe: Recipe | None = None, weights: str | Path | None = None, *, where: str = ""
) -> str:
    """Return the script that ``template`` makes of ``spec``, in lines of 88 characters as ``ruff format`` wraps them.

    Raises ``VGGError``, in which ``where`` names the backend, when the template fails.
    """
    import jinja2  # slow to import

    data = files_of(recipe) if recipe else None
    if data:
        check_fit(spec, data)
    path = None if weights is None else quoted(str(weights))
    words = {"spec": spec, "net": Notation(spec), "recipe": recipe, "data": data, "weights": path}
    environment = jinja2.Environment(  # noqa: S701 - it makes no HTML
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        text = environment.from_string(template).render(**words, title=_title(spec))
    except jinja2.TemplateError as error:
        raise VGGError(f"{where}: its template of code fails: {error}") from error
    return laid_out(text)


def _title(spec: Spec) -> str:
    """Return the spec's name without characters that could end a docstring or a line, 40 at most."""
    return re.sub(r"[^\w.+-]+", "_", spec.name)[:40].strip("_") or "custom"
