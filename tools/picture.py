"""Take a picture of the first screen of a page, by Chromium: ``python tools/picture.py report.html docs/report.png``.

It needs Chromium and the extra ``browser``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from browsers import chromium

WIDTH, HEIGHT = 1160, 1080


def main(page: Path, picture: Path) -> None:
    """Write the picture, at twice the resolution and in light colours."""
    with chromium() as browser:
        tab = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=2, color_scheme="light"
        ).new_page()
        tab.goto(page.absolute().as_uri())
        tab.screenshot(path=picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
