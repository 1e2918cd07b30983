"""Take a picture of the first screen of a page, by Chromium: ``python tools/picture.py report.html docs/report.png``.

It needs Chromium and the extra ``browser``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1160, 1080


def main(page: Path, picture: Path) -> None:
    """Write the picture, at twice the resolution and in light colours."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=2, color_scheme="light"
        ).new_page()
        tab.goto(page.absolute().as_uri())
        tab.screenshot(path=picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
