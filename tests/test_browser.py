"""The page in Chromium: nothing is asked for, all can be read without scripts, and choices follow mouse and keyboard.

These tests need Chromium and the extra ``browser``; they run when ``-m browser`` asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium
from pages import BENCH, board, compared

from vgg.report import html
from vgg.report.page.conformance import KINDS
from vgg.timing.results import read

pytestmark = pytest.mark.browser
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of four backends and five seeds."""
    folder = tmp_path_factory.mktemp("page")
    text = html.page(*compared(folder, ("torch", "tensorflow", "jax", "mxnet"), seeds=5))
    (folder / "report.html").write_text(text)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def strict(address: str) -> str:
    """Return the address of the same page under a policy that forbids scripts and whatever is elsewhere."""
    path = Path(address.removeprefix("file://"))
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    path.with_name("strict.html").write_text(path.read_text().replace("<head>", f"<head>{policy}", 1))
    return path.with_name("strict.html").as_uri()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of timings and of a suite's cells of every outcome."""
    cells = {f"{outcome} {i}": {"outcome": outcome, "reason": "why"} for outcome in KINDS for i in range(20)}
    path = tmp_path_factory.mktemp("results") / "page.html"
    path.write_text(html.document(html.Contents(timings=[read(BENCH)], conformance=[board(**cells)])))
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def opened(browser: Any, address: str, size: str = "desktop", **options: Any) -> tuple[Any, list[str]]:
    """Return a tab that shows the page, and a list of what the console said and of what was asked for."""
    width, height = SIZES[size]
    said: list[str] = []
    page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(address)
    return page, [one for one in said if one != address and not one.startswith("data:")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_said_asked_for_or_wider_than_the_screen(browser: Any, address: str, size: str, scheme: str) -> None:
    page, said = opened(browser, address, size, color_scheme=scheme)
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_a_policy_that_forbids_scripts_takes_the_sorting_and_nothing_else(browser: Any, strict: str) -> None:
    page, said = opened(browser, strict)
    assert len(said) == 1
    assert "script" in said[0]
    assert page.locator("th button").count() == 0
    page.locator(".tabs label").nth(1).click()
    assert page.locator(".tabbed > .panel-1").first.is_visible()


def column(page: Any, table: str, index: int) -> list[str]:
    """Return the texts of a column of the first such table."""
    rows = page.locator(table).first.locator("tbody tr")
    return [row.locator("th, td").nth(index).text_content() for row in rows.all()]


def test_a_table_is_sorted_by_the_heading_that_is_pressed(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    before = column(page, ".layers", 3)
    heading = page.locator(".layers thead th").nth(3)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, ".layers", 3)[:6] == ["16.8 M", "131 k", "41 k", "4.61 k", "2.3 k", ""]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, ".layers", 3)[:6] == ["2.3 k", "4.61 k", "41 k", "131 k", "16.8 M", ""]
    page.keyboard.press("Enter")
    assert (heading.get_attribute("aria-sort"), column(page, ".layers", 3)) == (None, before)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["6e-16 / 1e-12", "exact", "3e-7 / 2e-5", "FAILED", "left out"], [3, 2, 0, 1, 4]),
        (["3.2 M", "12 k", "900"], [0, 1, 2]),
        (["1,200", "30", "4"], [0, 1, 2]),
        (["\N{MINUS SIGN}0.5", "0.25", "-3"], [1, 0, 2]),
        (["block10.conv1", "block2.conv1"], [0, 1]),
        (["16\N{MULTIPLICATION SIGN}8", "512\N{MULTIPLICATION SIGN}4"], [1, 0]),
        (["5%", "40%"], [1, 0]),
    ],
)
def test_cells_are_sorted_as_what_they_say(browser: Any, tmp_path: Path, cells: list[str], order: list[int]) -> None:
    rows = "".join(f"<tr><td>{cell}</td></tr>" for cell in cells)
    table = f'<table class="sortable"><thead><tr><th>cell</th></tr></thead><tbody>{rows}</tbody></table>'
    script = (html.FOLDER / "sort.js").read_text(encoding="utf-8")
    path = tmp_path / "table.html"
    path.write_text(f'<meta charset="utf-8">{table}<script>{script}</script>', encoding="utf-8")
    page, said = opened(browser, path.as_uri())
    assert said == []
    page.get_by_role("button").click()
    assert column(page, "table", 0) == [cells[i] for i in order]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_has_no_complaint(browser: Any, address: str, size: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = opened(browser, address, size, color_scheme=scheme, bypass_csp=True)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_complaint_about_results(browser: Any, results: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, said = opened(browser, results, color_scheme=scheme)
    assert said == []
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


@pytest.mark.parametrize("script", [True, False])
def test_tabs_follow_the_mouse_and_the_keyboard(browser: Any, address: str, script: bool) -> None:
    page, _ = opened(browser, address, java_script_enabled=script)
    tensorflow = page.locator(".tabbed > .panel-1").first
    assert not tensorflow.is_visible()
    page.locator(".tabs label").nth(1).click()
    assert tensorflow.is_visible()
    page.keyboard.press("ArrowRight")
    assert not tensorflow.is_visible()
    assert page.locator(".tabbed > .panel-2").first.is_visible()


def test_a_block_shows_its_details_when_hovered_or_chosen(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    assert page.locator(".d-0").is_visible()
    page.locator(".part-1").hover()
    assert page.locator(".d-1").is_visible()
    assert not page.locator(".d-0").is_visible()
    page.mouse.move(0, 0)
    assert page.locator(".d-0").is_visible()
    page.locator(".part-0 input").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".d-1").is_visible()


def test_choosing_a_part_marks_the_lines_that_make_it(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)

    def background(part: str) -> str:
        line = page.locator(f".of-{part}").first
        return str(line.evaluate("one => getComputedStyle(one).backgroundColor"))

    plain = background("head")
    marked = background("block")
    assert marked != plain
    page.locator(".part").last.click()
    assert (background("block"), background("head")) == (plain, marked)


def test_all_tabs_are_printed(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    page.emulate_media(media="print")
    assert all(panel.is_visible() for panel in page.locator(".panel, .detail").all())


def test_the_result_can_be_saved(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    with page.expect_download() as saved:
        page.locator("a.file").first.click()
    assert saved.value.suggested_filename.startswith("compare.json")
    assert Path(saved.value.path()).stat().st_size > 100
