"""The site in a browser, from files: tabs, search, no request to elsewhere, nothing that axe finds; by -m browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parent.parent
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
PAGES = (
    "index",
    "lesson/costs",
    "lesson/network",
    "lesson/differences",
    "lesson/training",
    "lesson/proof",
    "lesson/comparing",
    "lesson/ci",
    "lesson/exercises",
    "notebooks/index",
    "reference/commands",
    "reference/api",
    "reference/files",
    "reference/errors",
    "backends",
    "divergences",
    "kill-matrix",
    "speed",
    "search",
)
AXE = {"resultTypes": ["violations"], "preload": False}
"""Options of axe, which would otherwise fetch the style sheets; browsers forbid that for files."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew."""
    out = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-m", "sphinx", "-W", "-q", str(ROOT / "docs"), str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    with chromium() as started:
        yield started


@pytest.fixture(params=SIZES)
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of that size, which fails for any request to elsewhere and any error of a script."""
    context = browser.new_context(viewport=SIZES[request.param])
    opened, wrong = context.new_page(), list[str]()
    opened.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert wrong == []


def checked(page: Any, topic: str) -> list[str]:
    """The framework that each tab set shows."""
    script = "() => [...document.querySelectorAll('.sd-tab-set > input:checked + label')].map(e => e.dataset.syncId)"
    shown: list[str] = page.evaluate(script)
    assert shown, topic
    return shown


def test_an_address_chooses_the_framework_of_all_tabs_and_it_is_remembered(page: Any, site: Path) -> None:
    page.goto(f"file://{site}/lesson/differences.html?framework=jax")
    assert set(checked(page, "address")) == {"jax"}
    page.goto(f"file://{site}/lesson/network.html")
    assert set(checked(page, "remembered")) == {"jax"}


def test_a_click_turns_all_tabs(page: Any, site: Path) -> None:
    page.goto(f"file://{site}/lesson/differences.html")
    page.get_by_text("MXNet", exact=True).first.click()
    assert set(checked(page, "click")) == {"mxnet"}


def test_search_finds_over_files(page: Any, site: Path) -> None:
    page.goto(f"file://{site}/search.html?q=flatten")
    page.wait_for_selector("#search-results li")
    assert page.locator("#search-results li a").count() > 3


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(page: Any, site: Path, name: str) -> None:
    page.goto(f"file://{site}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(page: Any, site: Path, name: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.goto(f"file://{site}/{name}.html")
    page.wait_for_load_state("load")
    violations = Axe().run(page, options=AXE).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in violations] == []
