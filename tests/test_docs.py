"""The documentation: it builds without a warning, its links lead somewhere, and its commands exist."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import commands_page
import figures
import lesson_numbers
import pytest
import snippets
import tabs
import yaml

from vgg.cli import main
from vgg.cli.parser import COMMANDS, parser
from vgg.conformance import known, plugin

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
QUICK = ("show", "code", "list")
"""Commands that need no framework and write nothing: they are run."""
OUTSIDE = {"uv", "printf", "sphinx-build", "bash"}
"""Programs that are not ours."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as the README says."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-d",
        str(out / "doctrees"),
        str(ROOT / "docs"),
        str(out / "html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


class Anchors(HTMLParser):
    """The links of a page, and the places that a link may lead to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.ids = set[str](), set[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag refers to, and its id."""
        values = dict(attrs)
        self.links |= {value for name in ("href", "src") if (value := values.get(name))}
        self.ids |= {value for name in ("id", "name") if (value := values.get(name))}


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    pages = {page: Anchors(page) for page in site.rglob("*.html")}
    assert len(pages) > 20
    wrong = []
    for page, anchors in pages.items():
        for link in anchors.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            ids = pages[target].ids if target in pages else set()
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in ids):
                wrong.append(f"{page.relative_to(site)}: {link}")
    assert not wrong


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//", re.IGNORECASE)
    assert [page.name for page in site.rglob("*.html") if loads.search(page.read_text(encoding="utf-8"))] == []


def test_every_tab_set_has_all_frameworks(site: Path) -> None:
    frameworks, sets = [*tabs.FRAMEWORKS], 0
    for page in site.rglob("*.html"):
        labels = re.findall(r'data-sync-group="framework" data-sync-id="(\w+)"', page.read_text(encoding="utf-8"))
        sets += len(labels) // len(frameworks)
        assert labels == frameworks * (len(labels) // len(frameworks)), page
    assert sets > 20


def test_search_knows_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for page in ("lesson/costs", "lesson/proof", "reference/commands", "divergences"):
        assert f'"{page}"' in index


def commands(page: Path) -> Iterator[str]:
    """The commands of a page: in blocks of console and lines of code, and of the directive that shows output."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    yield from (f"vgg {arguments}" for arguments in re.findall(r"^```\{vgg\} (.+)$", text, re.MULTILINE))
    for line in re.findall(r"^    (?=vgg |python |pytest )(.+)$", text, re.MULTILINE):
        yield from (part.strip() for part in line.split("&&"))


CASES = sorted({(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)})


def words(line: str) -> list[str]:
    """The words of a command, without a comment, a pipe or what it is written to."""
    parts = shlex.split(line, comments=True)
    end = next((i for i, word in enumerate(parts) if word in {">", "|", "||"}), len(parts))
    return parts[:end]


def test_there_are_commands_on_many_pages() -> None:
    assert len({page for page, _ in CASES}) > 12


@pytest.mark.parametrize(("page", "line"), CASES)
def test_commands_of_the_pages_exist(page: str, line: str) -> None:
    program, *arguments = words(line)
    if program == "vgg":
        parser().parse_args([word for word in arguments if word != "..."])
    elif program == "python" and arguments[:3] == ["-m", "pip", "install"]:
        extras = {extra for group in re.findall(r"\[(.+)\]", line) for extra in group.split(",")}
        assert extras <= {*PROJECT["project"]["optional-dependencies"]}
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    elif program == "pytest":
        source = Path(plugin.__file__).read_text()
        assert [word for word in arguments if word.startswith("--vgg-") and word.split("=")[0][6:] not in source] == []
    else:
        assert program in OUTSIDE


RUN = sorted(
    {line for _, line in CASES if line.split()[:1] == ["vgg"] and words(line)[1:2] and words(line)[1] in QUICK}
)


@pytest.mark.parametrize("line", RUN)
def test_quick_commands_of_the_pages_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = 2 if "3x8x8" in line else 0
    assert main([word for word in words(line)[1:] if "weights" not in word]) == wanted
    assert capsys.readouterr()


@pytest.mark.parametrize("path", ["action.yml", "docs/snippets/ci/workflow.yml"])
def test_the_commands_of_a_workflow_exist(path: str) -> None:
    document = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    steps = document["runs"]["steps"] if "runs" in document else document["jobs"]["vgg"]["steps"]
    lines = [step["run"] for step in steps if step.get("run", "").startswith("vgg ")]
    assert len(lines) == 1
    line = re.sub(r"\$\{\{.*?\}\}|\$BACKENDS", "torch", lines[0]).replace("$OPTIONS", "--known known.toml")
    parser().parse_args(shlex.split(line)[1:])


def test_the_known_failures_of_the_page_can_be_read() -> None:
    path = ROOT / "docs" / "snippets" / "ci" / "known.toml"
    assert len(known.read(str(path), [("mine", "forward mixed float64 eval")])) == 1


def test_the_reference_has_every_option_of_every_command() -> None:
    page = commands_page.page()
    for name, command in commands_page.subcommands().items():
        section = page.partition(f"## vgg {name}\n")[2].partition("\n## ")[0]
        options = [option for action in command._actions for option in action.option_strings]
        missing = [o for o in options if o not in {"-h", "--help", "--json", "--debug"} and f"`{o}" not in section]
        assert not missing, name
    assert {*COMMANDS} == {*commands_page.subcommands()}


@pytest.mark.parametrize("name", figures.DRAWINGS)
def test_figures_are_what_the_tool_draws(name: str) -> None:
    assert figures.DRAWINGS[name]() == (figures.FIGURES / name).read_text(encoding="utf-8")


def test_a_stack_of_convolutions_sees_what_one_large_one_sees() -> None:
    assert figures.paths((3, 3)).shape == figures.paths((5,)).shape == (5, 5)
    assert figures.paths((3, 3, 3)).shape == figures.paths((7,)).shape == (7, 7)
    assert (figures.paths((3, 3)).max(), figures.paths((5,)).max()) == (9, 1)


def test_no_page_has_a_number_that_it_could_take_from_vgg() -> None:
    """Large numbers on the pages of the lesson are made, not typed."""
    typed = {
        f"{page.name}: {number}"
        for page in (ROOT / "docs" / "lesson").glob("*.md")
        for number in re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d{3,}", page.read_text(encoding="utf-8"))
    }
    # a learning rate, and the paper's address
    assert typed == {"training.md: 0.005", "costs.md: 1409.1556", "exercises.md: 1409.1556"}


def test_every_topic_and_table_is_on_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    topics = {snippet.topic for snippet in snippets.all_snippets().values()}
    shown = set(re.findall(r"^```\{(?:snippet|proof)\} (\w+)$", text, re.MULTILINE))
    shown |= {f"repro.{name}" for name in re.findall(r"^```\{repro\} \w+ (\w+)$", text, re.MULTILINE)}
    assert topics - shown == {"repro.not_a_number", "repro.denormals"}  # the topics nan and denormals ask all four
    assert {*lesson_numbers.TABLES} == set(re.findall(r"^```\{lesson-table\} (\w+)$", text, re.MULTILINE))


ROWS = {
    "The float32 gradient of a max-pool": "repro.max_pool_in_predict_mode",
    "The float32 gradient of `LRN`": "no small program: random specs showed it",
    "`loss.backward()` uses train mode": "repro.backward_in_train_mode",
    "Batch norm keeps its momentum": "repro.statistics_momentum",
    "Dropout keeps 1 / (1 - rate)": "repro.dropout_scale",
    "The running variance is divided": "batch_norm",
    "`layers.Input` without a dtype": "repro.input_without_dtype",
    "Within one jitted function": "no small program: gradients of whole networks showed it",
    "Sums by YNNPACK": "repro.sums",
    "`device_put` may take over": "no program: it depends on addresses and on time",
    "`jax_enable_x64` and": "repro.switch_of_the_process",
    "Denormals are flushed": "denormals",
    "oneDNN is off by default": "no program: it depends on the processor",
    "Running statistics are created": "repro.running_statistics",
    "There is no LRN in float64": "repro.lrn_in_float64",
    "In float32, ReLU turns NaN": "nan",
    "Max-pool turns NaN": "nan",
    "`log_softmax` in float32": "repro.log_softmax",
    "`add_n` sums the gradients": "repro.order_of_sums",
    "`tf.zeros((4, 1, 224, 28))": "no program: it ends its process, on some processors",
    "A layer's `dtype_policy`": "repro.policy_that_stays",
}
"""How a row of the table of divergences begins -> the topic that demonstrates it, or why there is none."""


def test_every_divergence_has_a_demonstration_or_a_reason() -> None:
    document = (ROOT / "docs" / "divergences.md").read_text(encoding="utf-8")
    whats = [line.split(" | ")[1] for line in document.splitlines() if line.startswith("| ")][2:]
    topics = {snippet.topic for snippet in snippets.all_snippets().values()}
    assert [what for what in whats if not any(what.startswith(row) for row in ROWS)] == []
    assert [topic for topic in ROWS.values() if topic not in topics and not topic.startswith("no ")] == []


def test_notebook_and_page_show_the_same_functions() -> None:
    for framework in tabs.FRAMEWORKS:
        network = (snippets.SNIPPETS / "network" / f"of_{framework}.py").read_text()
        notebook = (ROOT / "docs" / "notebooks" / f"vgg_{framework}.py").read_text()
        name = next(n.name for n in ast.parse(network).body if isinstance(n, ast.FunctionDef | ast.ClassDef))
        assert snippets.part(network, name) in notebook
