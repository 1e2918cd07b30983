"""Outputs where a user says: nothing is lost that is not of the kind that is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pages import BENCH

from vgg import Head, Spec, VGGError, init, save_params
from vgg.cli import main
from vgg.core import outputs
from vgg.core.outputs import CHECK, JUNIT, PAGE, WEIGHTS, Kind

SPEC = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((6,)))
FILES = {
    "page": "<!doctype html>\n<html>",
    "old page": "\ufeff \n<!DOCTYPE HTML><html>",
    "junit": '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">',
    "svg": '<?xml version="1.0"?><svg>',
    "check": json.dumps({"ok": True, "checks": {}}),
    "run": json.dumps({"backend": "torch"}),
    "torn": '{"checks": ',
    "text": "a day's work",
    "html as text": "see <html>",
    "empty": "",
}
KINDS: dict[str, tuple[Kind, set[str]]] = {
    "page": (PAGE, {"page", "old page"}),
    "junit": (JUNIT, {"junit"}),
    "check": (CHECK, {"check"}),
    "weights": (WEIGHTS, {"weights"}),
}


@pytest.mark.parametrize("file", [*FILES, "weights", "binary"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_output_replaces_an_empty_file_or_one_of_its_kind(kind: str, file: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if file == "weights":
        save_params(path, init(SPEC), SPEC)
    else:
        path.write_bytes(bytes(range(256)) if file == "binary" else FILES[file].encode())
    if file in {*KINDS[kind][1], "empty"}:
        outputs.check_output("--out", path, KINDS[kind][0])
        return
    wanted = f"--out: got {path}, a file of something else, wanted a new file, or {KINDS[kind][0].name}; choose another"
    with pytest.raises(VGGError) as refusal:
        outputs.check_output("--out", path, KINDS[kind][0])
    assert str(refusal.value).startswith(wanted)


@pytest.mark.parametrize(
    "command",
    [
        ("report", str(BENCH), "--out"),
        ("check", "torch", "-k", "structure", "--html"),
        ("check", "torch", "-k", "structure", "--junit"),
        ("bench", "torch", "--html"),
        ("bench", "torch", "--out"),
    ],
)
@pytest.mark.parametrize("name", ["compare.json", "run.json", "weights.safetensors"])
def test_a_result_is_not_lost(
    command: tuple[str, ...], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if name == "weights.safetensors":
        save_params(path, init(SPEC), SPEC)
    else:
        path.write_text(json.dumps({"backend": "torch", "backends": {}}))
    before = path.read_bytes()
    assert main([*command, str(path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "got " in error
    assert "; choose another" in error
    assert path.read_bytes() == before


def test_a_page_replaces_a_page(tmp_path: Path) -> None:
    for _ in range(2):
        assert main(["report", str(BENCH), "--out", str(tmp_path / "page.html")]) == 0


def test_weights_replace_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for _ in range(2):
        save_params(path, init(SPEC), SPEC)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(VGGError, match=r"path: got .*x\.npy, a file of something else"):
        save_params(tmp_path / "x.npy", init(SPEC), SPEC)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (("check", "torch"), ("--junit", "--html")),
        (("bench", "torch"), ("--out", "--html")),
        (("bench", "torch"), ("--compare", "--html")),
        (("bench", "torch"), ("--compare", "--out")),
    ],
)
def test_two_options_do_not_name_one_file(
    command: tuple[str, ...], options: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = str(tmp_path / "x"), str(tmp_path / "y" / ".." / "x")
    assert main([*command, options[0], first, options[1], second]) == 2
    assert (
        f"vgg: {options[1]}: got {second}, which {options[0]} names too, wanted another file" in capsys.readouterr().err
    )
