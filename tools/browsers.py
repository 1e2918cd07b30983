"""Chromium without a window, for pictures and tests: the system's, or what ``playwright install chromium`` brought."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")
"""Arguments by which it starts as root and asks nothing of the network by itself."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield Playwright's browser: the program that ``CHROMIUM`` names, the system's, or Playwright's own."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
