"""The proof of ``vgg compare`` is of the network that was trained, whatever its size, and costs no training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sabotage import Inside, Sabotage, around, of_kind

from vgg import BackendError, Spec, arch, arch_names, expand, totals
from vgg.cli import main
from vgg.conformance import proof
from vgg.core.blocks import Block, Conv, Head, Pool
from vgg.process import registry
from vgg.process.registry import Entry
from vgg.report.rows import ROWS, texts

TINY = Spec.from_blocks(((1, 4), (1, 8)), input_shape=(1, 8, 8), classes=10, head=Head((16,)), name="tiny")
SEVEN = Spec.from_blocks(((1, 2),) * 7, input_shape=(1, 128, 128), classes=3, head=Head((5,)), name="seven")
WIDE = Spec((Block((Conv(32),), Pool(2, 2)),), input_shape=(3, 8, 8), classes=4, head=Head((4096, 64)), name="wide")
PROVEN = {"ok": True, "reason": ""}


@pytest.mark.parametrize("spec", [TINY, SEVEN, WIDE], ids=lambda spec: str(spec.name))
def test_a_network_is_proven_at_the_input_that_it_is_trained_on(spec: Spec) -> None:
    column = proof.prove(Inside(), spec)
    own, odd = column["proven_at"]
    assert column | PROVEN == column
    assert (column["layers_agreeing"], column["structure_at"]) == (len(expand(spec)), list(spec.input_shape))
    assert (column["parameters"], own) == (totals(expand(spec)).params, list(spec.input_shape))
    assert max(column["logits_error"], column["gradient_error"]) < 1e-12
    _, height, width = spec.modified(input_shape=odd).feature_shape
    assert height != width
    assert min(height, width) > 1


def test_an_architecture_with_a_name_shows_its_layers_at_224_px() -> None:
    spec = arch("vgg11_narrow", narrow=8, input_shape=(1, 32, 32), hidden=(16,))
    column = proof.prove(Inside(), spec)
    assert column | PROVEN == column
    assert (column["structure_at"], column["proven_at"]) == ([1, 224, 224], [[1, 32, 32], [1, 104, 136]])
    assert column["parameters"] > totals(expand(spec)).params


@pytest.mark.parametrize("name", arch_names())
def test_every_named_architecture_can_be_shown_and_proven_at_an_odd_size(name: str) -> None:
    for spec in (arch(name), arch(name, input_shape=(1, 96, 96), classes=10)):
        book, odd = proof.book(spec), proof.odd(spec)
        assert book
        assert book.input_shape[1:] == (224, 224)
        assert odd
        assert odd.feature_shape[1] != odd.feature_shape[2]


def test_what_only_borrows_a_name_or_cannot_be_afforded_is_not_shown_at_224_px() -> None:
    assert proof.book(WIDE) is None
    assert proof.book(Spec(WIDE.blocks, input_shape=(3, 8, 8), classes=4, head=WIDE.head, name="vgg11")) is None
    assert proof.book(arch("vgg11", input_shape=(3, 32, 32), hidden=(16384,))) is None


def test_a_map_that_is_not_square_needs_no_other_size() -> None:
    assert proof.odd(TINY.modified(input_shape=(1, 8, 12))) is None
    assert proof.odd(TINY.modified(input_shape=(1, 4, 12))) is not None


def test_where_no_odd_size_can_be_afforded_there_is_none() -> None:
    spec = Spec((Block((Conv(64),), None),), input_shape=(1, 64, 64), classes=4, head=Head((4096,)), name="huge")
    assert proof.odd(spec) is None


@pytest.mark.parametrize("name", ["flatten in another order", "loss is a sum", "forward is another network"])
def test_a_fault_is_no_proof(name: str) -> None:
    column = proof.prove(Inside(_FAULTS[name]), TINY.modified(batch_norm=True))
    assert not column["ok"]
    assert "is over its limit" in column["reason"]


def _transposed(b: Any, r: Any) -> None:
    """Rows and columns change places where a map is not square."""

    def swapped(original: Any, row: Any, own: Any, x: Any, *rest: Any) -> Any:
        turned = np.swapaxes(x, 2, 3).reshape(x.shape)
        return original(row, own, turned if x.shape[2] != x.shape[3] else x, *rest)

    of_kind(r, "flatten", swapped)


def _halved(b: Any, r: Any) -> None:
    around(b, "forward", lambda original, *a, **k: original(*a, **k) / 2)


def _summed(b: Any, r: Any) -> None:
    def summed(original: Any, model: Any, x: Any, *a: Any, **k: Any) -> Any:
        loss, grads = original(model, x, *a, **k)
        return loss * len(x), {name: g * len(x) for name, g in grads.items()}

    around(b, "loss_and_grads", summed)


_FAULTS: dict[str, Sabotage] = {
    "flatten in another order": _transposed,
    "loss is a sum": _summed,
    "forward is another network": _halved,
}


@pytest.mark.parametrize("error", [BackendError("oracle: trace: no memory"), MemoryError("13 GB"), KeyError("fc1")])
def test_what_cannot_be_carried_out_is_no_proof_and_says_why(error: Exception) -> None:
    class Broken(Inside):
        def forward(self, x: Any, *, train: bool = False) -> Any:
            raise error

    column = proof.prove(Broken(), TINY)
    assert (column["ok"], column["layers"]) == (False, None)
    assert column["reason"].startswith("not proven: ")
    assert str(error) in column["reason"]


def test_numbers_that_are_not_finite_are_no_error_that_json_lacks() -> None:
    def lost(b: Any, r: Any) -> None:
        around(b, "forward", lambda original, *a, **k: original(*a, **k) * math.nan)

    column = proof.prove(Inside(lost), TINY)
    assert (column["ok"], column["logits_error"]) == (False, None)
    json.dumps(column, allow_nan=False)


def test_rows_are_called_what_they_are() -> None:
    def rows(**columns: Any) -> dict[str, list[str]]:
        return texts({"ok": True, "backends": columns})

    book = rows(a={"structure_at": [1, 224, 224]}, b={"error": "no such module"})
    assert list(book) == list(rows(a={})) == list(ROWS)
    own = rows(a={"structure_at": [1, 8, 8]})
    assert {"layers as in the table", "parameters"} == own.keys() - ROWS.keys()
    for none in ({"b": {"error": "no such module"}}, {"b": {"layers": None}}):
        assert own.keys() == rows(**none).keys()
    maps = {"structure_at": [3, 224, 224], "shapes": {"pool": [256, 6, 6], "fc": [10]}}
    alexnet = rows(a=maps)
    assert {"layers as in the table, at 224 px"} == alexnet.keys() - ROWS.keys()


def test_training_outlives_a_proof_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_OWN", {"faulty": Entry("faulty", "faulty_backend")})
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{tests / 'plugin_backend'}:{tests}")
    monkeypatch.setenv("VGG_FAULT", "raises")
    path, out = tmp_path / "tiny.json", tmp_path / "run"
    path.write_text(TINY.to_json())
    assert main(["compare", "faulty", "--arch", str(path), "--epochs", "1", "--out", str(out)]) == 1
    column = json.loads((out / "compare.json").read_text())["backends"]["faulty"]
    assert (column["ok"], column["device"]) == (False, "cpu")
    assert column["reason"] == "not proven: faulty: forward: ValueError: no kernel for this shape"
    assert column["test_accuracy"] > 0
    assert "no kernel for this shape" in (out / "report.html").read_text()
    assert f"{column['test_accuracy']:.4f}" in capsys.readouterr().out
