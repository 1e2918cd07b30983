"""Figures with axes: drawn by Matplotlib as SVG, then made small and given the colours of the style sheet."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup, escape

from ...core.errors import mismatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
"""Stand-ins for colours of the style sheet, which differ between light and dark pages."""
SERIES = tuple(f"#0{i}0b0c" for i in range(6))
"""Stand-ins for the colours of backends, by the index of a mark."""
WORDS = tuple(f"#0{i}0d0e" for i in range(6))
"""Stand-ins for the same colours, dark enough for words."""
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", **{c: f"c{i}" for i, c in enumerate(SERIES)}}
_VARIABLES |= {c: f"t{i}" for i, c in enumerate(WORDS)}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vgg",
    "font.family": "DejaVu Sans",  # Matplotlib brings it, so that a layout is the same on every machine
    "font.size": 12,
    "path.simplify": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "text.color": INK,
    "lines.solid_capstyle": "round",
}


def figure(draw: Callable[[Axes], None], title: str, about: str, *, size: tuple[float, float] = (6.2, 3.4)) -> Markup:
    """Return a figure as SVG for a page.

    ``draw`` draws into axes. ``size`` is in inches; ``title`` and ``about`` are what a screen reader says. Raises
    ``VGGError`` when Matplotlib is missing, as on a machine where vgg is only on the path.
    """
    try:
        import matplotlib as mpl  # slow to import
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise mismatch("the HTML page", f"no {error.name}", "it installed", "pip install matplotlib") from error

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name may have letters that the font lacks; the page's has them
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # some versions know the names, others take any
        settings.update(_SETTINGS)
        drawing = Figure(figsize=size, layout="constrained")
        draw(drawing.subplots())
        text = io.StringIO()
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _mended(text.getvalue(), title, about)


def plain(axes: Axes, *, grid: Literal["x", "y"] = "y") -> None:
    """Give ``axes`` grid lines along one direction only."""
    axes.grid(visible=False)
    axes.grid(visible=True, axis=grid)
    axes.tick_params(length=3 if grid == "y" else 0)


def _mended(text: str, title: str, about: str) -> Markup:
    """Return the SVG element with few decimals, no ids but those it uses, and variables for its colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    for stand_in, name in _VARIABLES.items():
        text = text.replace(stand_in, f"var(--{name})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"stroke-linejoin: \w+;? ?|stroke-linecap: \w+;? ?|stroke-miterlimit: \d+;? ?", "", text)
    text = re.sub(r"<style.*?</style>| transform=\"rotate\(-0 [^\"]*\)\"|font-family: 'DejaVu Sans'; ", "", text)
    text = _numbered(text.replace("xlink:href", "href"), f"{zlib.crc32(title.encode()):x}-")
    text = re.sub(r"\s*\n\s*(?=[<\"A-Za-z])|(?<=>)\s+", "", re.sub(r"<g/>|<g>\s*</g>|<defs>\s*</defs>", "", text))
    text = re.sub(r"<[^>]*>", lambda tag: _rounded(tag[0]), text)
    text = re.sub(r'<path d="[^"]*" style="fill:none"/>', "", text)  # frames that nobody sees
    box = re.search(r'viewBox="[^"]*"', text)
    start = f'<svg class="figure" role="img" {box[0] if box else ""}>'
    names = f"<title>{escape(title)}</title><desc>{escape(about)}</desc>"
    return Markup(start + names + text[text.index(">") + 1 :])  # noqa: S704 - Matplotlib escapes texts


def _numbered(text: str, prefix: str) -> str:
    """Return ``text`` with short ids that no other figure has, and without those that nothing refers to."""
    used = sorted(set(re.findall(r"(?:href=\"#|url\(#)([\w-]+)", text)))
    names = {name: f"{prefix}{index}" for index, name in enumerate(used)}
    text = re.sub(r' id="([\w.-]+)"', lambda one: f' id="{names[one[1]]}"' if one[1] in names else "", text)
    return re.sub(r'(href="#|url\(#)([\w-]+)', lambda one: one[1] + names[one[2]], text)


def _rounded(tag: str) -> str:
    """Return a tag whose coordinates have one decimal, which is a tenth of a pixel, and without needless spaces."""
    tag = re.sub(r"(?<=[:;]) |;? (?=\"/?>$)|(?<=[A-Za-z\d]) ?\n|(?<=[ \"][MLCQ]) ", "", tag)
    return re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), tag)
