"""The settings of the documentation: ``sphinx-build -W docs site`` builds it and runs no framework."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import vgg  # noqa: E402 - it is that of this checkout

project, author, release = "vgg", "the vgg project", vgg.__version__
project_copyright = "the vgg project, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_design", "lesson"]
exclude_patterns = ["snippets", "notebooks/*.ipynb", "notebooks/*.py", "notebook.ipynb", "repro", "_static", "figures"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "vgg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_search_summary = False  # it fetches pages, which browsers forbid for files
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
