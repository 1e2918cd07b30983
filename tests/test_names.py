"""Names that are anything: in a path, in a terminal, in rich's markup and in a page."""

from __future__ import annotations

import json
import os
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vgg
from vgg import Head, Spec, VGGError
from vgg.cli import main
from vgg.core.errors import mismatch, unknown
from vgg.core.texts import cut, for_path, one_line, printable, shown
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report import html, notebook, terminal
from vgg.runs import options

NAMES = [
    *("../../x", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "C:\\x", "-rf", "~", "a\0b", "CON", "x" * 200, "é" * 200),
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb", "a\nb", "\x9b31m", "\u202egpj.exe", "\u2028", "\x7f\x08\x08"),
    *(
        "[/x]",
        "[bold]",
        "[link=file:///]x[/link]",
        ":smile:",
        "\\[x]",
        "{{ 7 * 7 }}",
        "%s",
        "<script>alert(1)</script>",
    ),
    *("'\"><img src=x onerror=alert(1)>", "&lt;", "\ufeff", "a\u200bb"),
]
SPEC = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((6,)))
ANY = st.text(st.characters(exclude_categories=()), max_size=200)


@settings(deadline=None, derandomize=True)
@given(ANY)
def test_a_name_in_a_path_is_one_part_of_it_and_stays_below(name: str) -> None:
    part = for_path(name)
    assert part == Path(part).name == os.path.normpath(part)
    assert part[0] not in "-."
    assert 1 <= len(part) <= 40
    assert len(os.fsencode(part)) < 255 - len("tensorflow--20260101-000000")
    assert for_path(part) == part


@settings(deadline=None, derandomize=True)
@given(ANY)
def test_a_text_for_a_terminal_only_shows(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text, "\n").replace("\n", "").isprintable()
    assert one_line(text).isprintable()
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize("text", ["vgg11", "réseau", "日本", "a b", "[/x]", "100 %"])
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == text


def test_control_characters_become_escapes() -> None:
    assert printable("\x1b[31m\r\n\u202e\udc80") == r"\x1b[31m\r\n\u202e\udc80"


def deep() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), "x" * 10**6, [1] * 10**5, {str(i): i for i in range(10**4)}, deep(), b"x" * 10**6],
    ids=["integer", "negative", "text", "list", "table", "deep", "bytes"],
)
def test_every_value_is_shown_on_one_short_line(value: Any) -> None:
    assert len(shown(value)) < 1500
    for error in (mismatch("x", value, value), mismatch("x" * 10**6, "", "", "y" * 10**6), unknown("x", value, ["a"])):
        assert str(error).isprintable()
        assert len(str(error)) < 3000


def test_what_is_cut_keeps_its_ends() -> None:
    assert cut("a" * 60 + "b" * 60, 30) == "a" * 20 + " ... " + "b" * 10
    assert cut("short", 30) == "short"


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_of_any_name_is_stored_and_gets_a_run_below_the_folder(name: str) -> None:
    spec = Spec(SPEC.blocks, SPEC.input_shape, name=name)
    assert Spec.from_json(spec.to_json()) == Spec.from_toml(spec.to_toml()) == spec
    place = options.new_path(f"torch-{name}")
    assert place.parent == Path("runs")
    assert place.name.startswith("torch-")
    assert len(os.fsencode(place.name)) < 255


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reaches_the_terminal_as_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    vgg.show(Spec(SPEC.blocks, SPEC.input_shape, name=name))
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert printable(name)[:80].split(" ")[0] in out.replace("\n", "")
    terminal.listing({name: {"params": 1, "macs": 2}}, {name: {"where": name, "version": name}})
    terminal.comparison({"backends": {name: {"ok": False, "error": name}}})
    terminal.timings([(name, [name], [[name]])])
    progress = terminal.Progress()
    progress.stage(name, name)
    out, err = capsys.readouterr()
    assert (out + err).replace("\n", "").isprintable()


def without_own_script(page: str) -> str:
    """Return a page without the one script that belongs to it."""
    return page.replace(f"<script>{(html.FOLDER / 'sort.js').read_text()}</script>", "")


@pytest.mark.parametrize("name", [*NAMES, "\ud800"])
def test_a_name_is_text_in_a_page(name: str) -> None:
    spec: dict[str, Any] = {**SPEC.to_dict(), "name": "x" if name == "\ud800" else name}
    facts: dict[str, Any] = {
        "framework": name,
        "devices": [name],
        **{key: {name: name} for key in ("versions", "flags", "declared")},
    }
    figures = dict.fromkeys(("first_loss", "last_loss", "test_accuracy", "images_per_second", "compile_seconds"), 1.0)
    column: dict[str, Any] = {"facts": facts, "device": name, "peak_bytes": 1, **figures}
    result: dict[str, Any] = {
        "spec": spec,
        "recipe": {name: name},
        "backends": {name: column, "other": {"error": name}},
    }
    result |= {"date": name, "machine": {"system": name, "cpu": name, "cores": name}, "vgg": name}
    page = without_own_script(html.page(result, {}))
    assert page.replace("\n", "").isprintable()
    for tag in ("<script", "<img"):
        assert tag not in page
        assert tag not in notebook.table([name], [[name]], name)


@pytest.mark.parametrize("name", [5, None, b"x", "x" * 201, "\ud800", "a\udc80"])
def test_a_name_that_is_no_text_of_unicode_is_refused(name: Any) -> None:
    with pytest.raises(VGGError, match=r"spec\.name: got .*, wanted "):
        Spec(SPEC.blocks, SPEC.input_shape, name=name)


def test_a_run_of_any_name_stays_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_OWN", {"oracle": Entry("oracle", "vgg_oracle")})
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "plugin_backend"))
    Path("net.json").write_text(json.dumps({**SPEC.to_dict(), "name": "../../[/x]\x1b[31m<script>"}))
    assert main(["train", "oracle", "net.json", "--epochs=1"]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name != "net.json"] == ["runs"]
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("oracle-..-..---x---31m-script")
    assert "<script" not in without_own_script((run / "report.html").read_text())
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", ["../x", "a/b", "\x1b[31m", ".hidden", "-x", "a b"])
def test_a_plug_in_whose_name_is_no_name_of_a_folder_is_refused_and_listed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_announced", lambda: EntryPoints([EntryPoint(name, "module", registry.GROUP)]))
    monkeypatch.setattr(registry, "_OWN", {})
    with pytest.raises(VGGError, match="wanted a name of letters"):
        registry.find(name)
    assert main(["list"]) == 0
    assert "nowhere: entry point" in capsys.readouterr().out
