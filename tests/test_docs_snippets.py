"""Snippets of the documentation: their stored outputs are of this code and these versions, and come out again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jupytext
import notebooks
import pytest
import snippets
import verdicts

from vgg import arch, scripts
from vgg.process import registry

SNIPPETS = snippets.all_snippets()
RUNNABLE = {name: snippet for name, snippet in SNIPPETS.items() if not snippet.needs}
REPEATED = {"repro.max_pool_in_predict_mode": 10.0, "repro.input_without_dtype": 10.0}
"""Topics whose numbers are rounding errors or differ from run to run, with the tolerance that leaves them open."""


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_snippet_was_run_after_its_last_change(name: str) -> None:
    entry = snippets.outputs().get(name)
    assert entry, "run tools/snippets.py"
    assert entry["fingerprint"] == SNIPPETS[name].fingerprint(entry["versions"]), "run tools/snippets.py"


def test_nothing_is_stored_that_no_page_shows() -> None:
    assert {*snippets.outputs()} == {*RUNNABLE}


def test_what_was_not_run_needs_a_gpu() -> None:
    assert {name: snippet.needs for name, snippet in SNIPPETS.items() if snippet.needs} == {
        "memory/jax": "gpu",
        "memory/tensorflow": "gpu",
    }


@pytest.mark.parametrize("framework", snippets.MODULES)
def test_snippets_print_again_what_is_stored(framework: str) -> None:
    own = [snippet for snippet in RUNNABLE.values() if snippet.framework == framework]
    wrong = {}
    for name, entry in snippets.run(own).items():
        topic = SNIPPETS[name].topic
        tolerance = REPEATED.get(topic, snippets.about(topic).get("tolerance", snippets.TOLERANCE))
        wrong[name] = snippets.difference(entry["output"], snippets.outputs()[name]["output"], tolerance)
    assert {name: text for name, text in wrong.items() if text} == {}


@pytest.mark.parametrize(
    ("got", "wanted", "alike"),
    [
        ("loss 0.1230\n", "loss 0.1231\n", True),
        ("loss 0.1230\n", "loss 0.1250\n", False),
        ("drops True", "drops False", False),
        ("7 of 50", "8 of 50", False),
        ("1e-10", "2e-10", True),
        ("3.1e-02 and nan", "3.1e-02 and nan", True),
        ("[1.0, 2.0]", "[1.0]", False),
    ],
)
def test_outputs_differ_in_texts_and_in_numbers_beyond_the_tolerance(got: str, wanted: str, alike: bool) -> None:
    assert (snippets.difference(got, wanted) == "") == alike


def test_a_fingerprint_is_of_code_and_versions() -> None:
    one, other = SNIPPETS["flatten/torch"], SNIPPETS["ties/torch"]
    assert one.fingerprint({"torch": "1"}) != other.fingerprint({"torch": "1"})
    assert one.fingerprint({"torch": "1"}) != one.fingerprint({"torch": "2"})
    assert one.fingerprint({"torch": "1"}) != SNIPPETS["flatten/jax"].fingerprint({"torch": "1"})


def test_stored_versions_are_those_of_the_lock_files() -> None:
    for name, snippet in RUNNABLE.items():
        lock = (
            "" if snippet.framework == snippets.PLAIN else (registry.find(snippet.framework).lock or Path()).read_text()
        )
        for package, version in snippets.outputs()[name]["versions"].items():
            assert not lock or re.search(rf"^{package}(?:-cpu)?=={re.escape(version)}", lock, re.MULTILINE), (
                package,
                version,
            )


@pytest.mark.parametrize("framework", registry.own_names())
def test_the_network_is_what_vgg_code_prints(framework: str) -> None:
    code = scripts.source(registry.find(framework), arch("vgg11_narrow"))
    assert SNIPPETS[f"network/{framework}"].code == code


@pytest.mark.parametrize("name", verdicts.FAULTS)
def test_the_students_backend_gets_the_verdict_of_the_page(name: str) -> None:
    stored = (verdicts.MINE / name).read_text(encoding="utf-8")
    assert snippets.difference(verdicts.verdict(*verdicts.FAULTS[name]), stored, 10.0) == ""


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_was_run_after_its_last_change(name: str) -> None:
    stored = json.loads(notebooks.target(name).read_text(encoding="utf-8"))
    assert stored["metadata"]["vgg"]["fingerprint"] == notebooks.fingerprint(name), "run tools/notebooks.py"
    sources = [cell.source for cell in jupytext.read(notebooks.source(name)).cells]
    assert ["".join(cell["source"]) for cell in stored["cells"]] == sources
    assert not [o for cell in stored["cells"] for o in cell.get("outputs", ()) if o["output_type"] == "error"]


@pytest.mark.parametrize("name", registry.own_names())
def test_a_notebook_imports_vgg_in_its_last_section_only(name: str) -> None:
    before, title, after = notebooks.source(name).read_text(encoding="utf-8").partition("# ## Is it the same network?")
    assert title
    assert "import vgg" not in before
    assert "from vgg" not in before
    assert "import vgg" in after


@pytest.mark.parametrize("name", registry.own_names())
def test_a_notebook_ends_with_a_proof(name: str) -> None:
    stored = json.loads(notebooks.target(name).read_text(encoding="utf-8"))
    texts = ["".join(o.get("text", "")) for cell in stored["cells"] for o in cell.get("outputs", ())]
    assert re.fullmatch(r"logits: .* ok\ngradients: .* ok\n", texts[-1])
