"""Files that users name: pipes, devices, encodings, sizes, ``~``, and formats of others."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from vgg import Head, Recipe, Spec, VGGError, init, load_params, load_spec, save_params
from vgg.cli import main
from vgg.conformance import known
from vgg.core import limits
from vgg.core.files import no_empty_folder, path_of, read_text
from vgg.runs.options import recipe_of
from vgg.timing import results
from vgg.training.checkpoints import initial

SPEC = Spec.from_blocks(((1, 4),), input_shape=(1, 8, 8), classes=10, head=Head((6,)))
JSON = SPEC.to_json()
READERS: dict[str, Callable[[Path], object]] = {
    "spec.json": Spec.load,
    "spec.toml": Spec.load,
    "weights.safetensors": load_params,
    "metadata.safetensors": load_spec,
    "known.toml": lambda path: known.read(str(path), []),
    "result.json": results.read,
}
"""File name -> a function of ours that reads such a file of a user's."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def silent(path: Path) -> None:
    path.symlink_to("/dev/null")


def itself(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    """No file at all."""


def empty(path: Path) -> None:
    path.write_bytes(b"")


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 100)


HOPELESS = [
    (name, make) for name in READERS for make in (pipe, folder, endless, silent, itself, nothing, empty, binary)
]
HOPELESS.remove(("known.toml", empty))  # a list of no known failures is one


@pytest.mark.parametrize(("name", "make"), HOPELESS)
def test_what_is_no_file_to_read_is_named_at_once(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / name
    make(path)
    start = time.monotonic()
    with pytest.raises(VGGError) as refusal:
        READERS[name](path)
    assert str(refusal.value).startswith(str(path))
    assert len(str(refusal.value).splitlines()) == 1
    assert time.monotonic() - start < 30  # a pipe would block for ever


@pytest.mark.parametrize("make", [pipe, folder])
def test_what_is_no_file_is_not_written_over(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    make(path)
    mode = path.stat().st_mode
    with pytest.raises(VGGError, match=r"cannot be written \(it is a (pipe|directory), not a file\); choose another"):
        save_params(path, init(SPEC), SPEC)
    assert [(p.name, p.stat().st_mode) for p in tmp_path.iterdir()] == [(path.name, mode)]


@pytest.mark.parametrize("name", [name for name in READERS if "safetensors" not in name])
def test_a_file_that_is_too_long_is_not_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCUMENT", 1000)
    monkeypatch.setattr(limits, "RESULT", 1000)
    (tmp_path / name).write_text(" " * 1001)
    with pytest.raises(VGGError, match="it has more than 1,000 bytes"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", ["net.json", "NET.JSON", "net.Toml", "UP.TOML"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_spec_is_read_whatever_the_case_of_its_name_and_with_a_byte_order_mark(
    name: str, encoding: str, tmp_path: Path
) -> None:
    text = SPEC.to_toml() if name.lower().endswith("toml") else JSON
    (tmp_path / name).write_text(text, encoding=encoding)
    assert Spec.load(tmp_path / name) == SPEC


@pytest.mark.parametrize(
    ("encoding", "reason"), [("utf-16", "it is UTF-16; save it as UTF-8"), ("latin-1", "not UTF-8 from byte 10 on")]
)
def test_another_encoding_is_named(encoding: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text('{"name": "é"}', encoding=encoding)
    with pytest.raises(VGGError, match=reason):
        Spec.load(tmp_path / "net.json")


@pytest.mark.parametrize("name", ["net", "net.yaml", "net.json.bak", "weights.safetensors", ".toml"])
def test_a_name_that_says_no_format_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(JSON)
    with pytest.raises(VGGError, match=r"wanted one that ends in \.json or \.toml"):
        Spec.load(tmp_path / name)


def test_a_key_that_json_has_twice_is_refused() -> None:
    with pytest.raises(VGGError, match="key 'classes' is there twice; keep one"):
        Spec.from_json('{"blocks": [[1, 64]], "classes": 10, "classes": 20}')


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 50_000) + " = 1",
        "[" + ".".join(["a"] * 50_000) + "]",
        "x = {" + " . ".join(["a"] * 50_000) + " = 1}",
        ".".join(['"="'] * 50_000) + " = 1",
        ".".join(["'}'"] * 50_000) + " = 1",
        "blocks = " + "[" * 100_000,
        "classes = " + "9" * 5000,
        "blocks = [" + "[1, 64]," * 100_000 + "]",
        "blocks = [[1000000000, 64]]",
        "x" * (limits.DOCUMENT + 1),
    ],
    ids=["key", "header", "inline", "quoted", "apostrophes", "nested", "digits", "blocks", "convolutions", "long"],
)
def test_toml_without_end_is_refused_before_it_takes_long(text: str) -> None:
    start = time.process_time()
    with pytest.raises(VGGError) as refusal:
        Spec.from_toml(text)
    assert len(str(refusal.value)) < 500
    assert time.process_time() - start < 30  # a dotted key of 50,000 parts takes tomllib 90 seconds


def test_dots_in_strings_and_comments_are_no_long_key() -> None:
    text = f"# {'.' * 500}\nblocks = [[1, 4]]\nname = '{'.' * 190}'\ninput_shape = [1, 8, 8]  # {'.' * 500}\n"
    assert Spec.from_toml(text).name == "." * 190


def header(entries: dict[str, Any], data: bytes = b"", spec: str = JSON) -> bytes:
    text = json.dumps({"__metadata__": {"spec": spec}, **entries}).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "U8", "BOOL"])
@pytest.mark.parametrize("name", ["block1.conv1.weight", "fc2.bias"])
def test_weights_of_another_dtype_are_refused_by_name(dtype: str, name: str, tmp_path: Path) -> None:
    entries, data, sizes = {}, b"", {"F": 4, "B": 1, "I": 8, "U": 1}
    for key, array in init(SPEC).items():
        kind = dtype if key == name else "F32"
        size = {"BF16": 2, "F16": 2, "I32": 4, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1}.get(kind, sizes[kind[0]])
        entries[key] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(data), len(data) + size * array.size]}
        data += bytes(size * array.size)
    path = tmp_path / "w.safetensors"
    path.write_bytes(header(entries, data))
    with pytest.raises(VGGError, match=rf"w\.safetensors: {name}: got {dtype}, wanted F32 or F64; convert it first"):
        load_params(path)


@pytest.mark.parametrize("dtype", ["float16", "int64", "bool", "complex64", "object", "U3"])
def test_arrays_of_another_dtype_are_not_saved(dtype: str, tmp_path: Path) -> None:
    params = {name: array.astype(dtype) for name, array in init(SPEC).items()}
    with pytest.raises(VGGError, match=r"block1\.conv1\.weight: got .*, wanted float32 or float64"):
        save_params(tmp_path / "w.safetensors", params, SPEC)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ('{"blocks": [[1000000000, 64]]}', "convolutions of a block: got 1000000000, wanted at most 2,000"),
        ('{"blocks": [[1, 1000000000]]}', "conv.channels: got 1000000000, wanted at most 10,000,000"),
        (f'{{"blocks": [{", ".join(["[1, 64]"] * 2000)}]}}', "blocks: got more than 1,000"),
        (f'{{"blocks": [[1, 4]], "classes": {"9" * 5000}}}', "an integer of thousands of digits"),
        ("[" * 100_000, "not JSON"),
        (" " * 2_000_000, "got 2,000,000 characters, wanted at most 1,000,000"),
        ('{"blocks": [[1, 4]], "name": "' + "x" * 500 + '"}', "spec.name: got 500 characters, wanted at most 200"),
    ],
    ids=["convolutions", "channels", "blocks", "digits", "nested", "long", "name"],
)
def test_metadata_of_weights_have_the_limits_of_a_spec(spec: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(header({}, spec=spec))
    for read in (load_spec, load_params):
        with pytest.raises(VGGError) as refusal:
            read(path)
        assert message in str(refusal.value)
        assert len(str(refusal.value)) < 700


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data())
def test_weights_that_are_altered_are_read_whole_or_refused(tmp_path_factory: Any, data: st.DataObject) -> None:
    good = save(dict(init(SPEC)), metadata={"spec": JSON})
    start = data.draw(st.integers(0, 1200))
    junk = data.draw(st.binary(max_size=12))
    content = good[:start] + junk + good[start + data.draw(st.sampled_from((0, len(junk)))) :]
    path = tmp_path_factory.getbasetemp() / "altered.safetensors"
    path.write_bytes(content[: data.draw(st.integers(len(content) - 50, len(content)))])
    with suppress(VGGError):
        params = load_params(path)
        assert {name: array.dtype.name for name, array in params.items()} == dict.fromkeys(init(SPEC), "float32")


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))


@pytest.mark.parametrize(
    ("name", "make", "hint"),
    [
        ("w.pth", zipped, "it is a zip archive, as torch.save, numpy.savez and Keras write; load it in its framework"),
        ("w.pt", lambda path: path.write_bytes(pickle.dumps({})), "it is a pickle, which vgg never opens; load it"),
        ("w.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "it is HDF5, as Keras writes"),
        ("w.params", lambda path: path.write_bytes(b"\x12\x01" + bytes(99)), "it is a file of MXNet; load it"),
        ("w.npz", lambda path: np.savez(path, a=np.ones(3)), "it is a zip archive"),
        ("w.pth", lambda path: path.write_bytes(b"what?"), "vgg reads what vgg.save_params wrote"),
        ("w.safetensors", lambda path: path.write_bytes(b"what?"), "write it again"),
        ("w.safetensors", lambda path: path.write_bytes(save(init(SPEC))), "load it in its framework"),
    ],
)
def test_weights_in_another_format_are_called_what_they_are(
    name: str, make: Callable[[Path], None], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / name)
    command = ["train", "torch", "vgg11", "--init-from", str(tmp_path / name), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_training_starts_from_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    params = init(SPEC)
    params["fc1.weight"][1, 2:4] = value
    save_params(tmp_path / "w.safetensors", params, SPEC)
    with pytest.raises(VGGError, match=r"fc1\.weight: got 2 of 384 values not finite"):
        initial(SPEC, Recipe(init_from=str(tmp_path / "w.safetensors")))


def test_the_home_directory_may_be_named_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "net.json").write_text(JSON)
    save_params("~/w.safetensors", init(SPEC), SPEC)
    assert load_spec("~/w.safetensors") == SPEC == Spec.load("~/net.json")
    assert list(load_params("~/w.safetensors")) == list(init(SPEC))
    assert recipe_of("quick", {"init_from": "~/w.safetensors"}).init_from == str(tmp_path / "w.safetensors")
    with pytest.raises(VGGError, match=f"^{tmp_path}/known.toml: "):
        known.read("~/known.toml", [])


@pytest.mark.parametrize("value", [5, None, b"x", "", "a\0b", "x" * 5000, "\ud800", [], Path])
def test_what_is_no_path_is_refused(value: object) -> None:
    with pytest.raises(VGGError, match=r"^--out: got .*, wanted a path"):
        path_of("--out", value)


def test_a_home_directory_of_nobody_is_a_folder_of_that_name() -> None:
    assert path_of("--out", "~nobody-has-this-name/x") == Path("~nobody-has-this-name/x")


def test_only_folders_that_are_new_and_empty_are_removed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for place in ("old/new/run", "old", "other/run"):
        with no_empty_folder(tmp_path / place):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
    with suppress(ZeroDivisionError), no_empty_folder(tmp_path / "kept" / "run"):
        (tmp_path / "kept" / "run").mkdir(parents=True)
        (tmp_path / "kept" / "file").write_text("kept")
        raise ZeroDivisionError
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["kept", "kept/file", "old"]


def test_a_path_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(VGGError) as refusal:
        read_text(tmp_path / "a\nb\x1b[31m", "a spec", 10)
    assert str(refusal.value).isprintable()


WORDS = [
    "blocks",
    "input_shape",
    "classes",
    "head",
    "batch_norm",
    "name",
    "convs",
    "pool",
    "channels",
    "hidden",
    "dropout",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(1, 9)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner),
    max_leaves=20,
)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.dictionaries(st.sampled_from(WORDS), ANYTHING))
def test_any_json_is_a_spec_or_refused_on_one_line(values: dict[str, Any]) -> None:
    for text in (json.dumps(values), json.dumps({**SPEC.to_dict(), **values})):
        try:
            spec = Spec.from_json(text)
        except VGGError as refusal:
            message = str(refusal)
        else:
            message = spec.to_json()
        assert message.isprintable()
