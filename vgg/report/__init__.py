"""Reports of runs and results: a self-contained HTML page, and tables in a terminal and in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

HERE = Path(__file__).parent


def template(name: str, folder: Path = HERE) -> Template:
    """Return the template file of this name in ``folder``. It escapes texts, and a missing variable is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to import

    loader = FileSystemLoader(folder)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
