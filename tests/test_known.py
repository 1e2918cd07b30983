"""Known failures: they are forgiven where they fail as the file says, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Check

from vgg import VGGError
from vgg.conformance import known as known_failures

FORWARD, BACKWARD = "forward plain float64 eval", "backward plain float64 eval"
NO_KERNEL = 'match = "no kernel"'
CELLS = [(backend, check) for backend in ("faulty", "oracle") for check in (FORWARD, BACKWARD, "declared ties")]
Written = Callable[..., str]


@pytest.fixture
def known(tmp_path: Path) -> Written:
    """A file with one known failure."""

    def written(name: str, measure: str = NO_KERNEL, more: str = "") -> str:
        path = tmp_path / "known.toml"
        text = f'[[known]]\nid = "{name}"\nreason = "a bug"\nlink = "https://example.org/1"\n'
        path.write_text(f"{text}{measure}\n{more}\n")
        return str(path)

    return written


def test_a_known_failure_is_shown_and_forgiven(check: Check, known: Written) -> None:
    status, result, printed = check("faulty", "-k", "plain-float64-eval", "--known", known(FORWARD), fault="raises")
    assert (status, result["ok"]) == (0, True)
    assert result["checks"][FORWARD]["faulty"]["outcome"] == "known failure"
    assert "KNOWN FAILURE" in printed
    assert "faulty: judged 2 of " in printed


def test_a_known_failure_that_passes_is_a_failure(check: Check, known: Written) -> None:
    path = known("*plain float64 eval")
    status, result, printed = check("faulty", "-k", "plain-float64-eval", "--known", path, fault="raises")
    assert (status, result["ok"]) == (1, False)
    assert result["checks"][FORWARD]["faulty"]["outcome"] == "known failure"
    assert result["checks"][BACKWARD]["faulty"]["outcome"] == "unexpected pass"
    assert "unexpected pass, known to fail: a bug (https://example.org/1)" in printed


@pytest.mark.parametrize(
    ("measure", "status"), [("error = [9e-4, 2e-3]", 0), ("error = [1e-8, 1e-6]", 1), ('match = "no kernel"', 1)]
)
def test_a_known_failure_that_fails_otherwise_is_a_failure(
    check: Check, known: Written, measure: str, status: int
) -> None:
    asked = ("-k", "forward-plain-float64-eval", "--known", known(FORWARD, measure))
    got, result, printed = check("faulty", *asked, fault="off")
    assert got == status
    assert result["checks"][FORWARD]["faulty"]["outcome"] == ("failed" if status else "known failure")
    assert ("known for another reason: " in printed) is bool(status)


def test_a_fact_that_is_not_as_declared_is_red_and_may_be_known(check: Check, known: Written) -> None:
    status, result, printed = check("faulty", "-k", "faulty-ties", fault="ties")
    assert status == 1
    assert "measured none of first, last, shared, both" in result["declared"]["ties"]["faulty"]["wrong"]
    assert "FAILED" in printed
    path = known("declared ties", "match = 'measured none of first, '")
    status, _, printed = check("faulty", "-k", "faulty-ties", "--known", path, fault="ties")
    assert status == 0
    assert "KNOWN FAILURE" in printed


def test_a_known_failure_may_be_one_backends_alone(known: Written) -> None:
    expected = known_failures.read(known(FORWARD, NO_KERNEL, 'backend = "faulty"'), CELLS)
    assert list(expected) == [("faulty", FORWARD)]


def test_a_pattern_stands_for_every_cell_that_it_matches(known: Written) -> None:
    assert set(known_failures.read(known("*ward plain *"), CELLS)) == {c for c in CELLS if c[1] != "declared ties"}


@pytest.mark.parametrize(
    ("measure", "error", "reason", "foretold"),
    [
        ("error = [1e-8, 1e-6]", 1e-7, "", True),
        ("error = [1e-8, 1e-6]", 1e-8, "", True),
        ("error = [1e-8, 1e-6]", 2e-6, "", False),
        ("error = [1e-8, 1e-6]", math.inf, "no kernel", False),
        (NO_KERNEL, math.inf, "ValueError: no kernel for this shape", True),
        (NO_KERNEL, 0.1, "logits: error 1e-1 is over its limit", False),
        ("match = 'a(.|.)*b'", 0.1, "a" * 40, False),  # nobody can wait for the answer
    ],
)
def test_an_entry_says_how_its_cells_fail(
    known: Written, measure: str, error: float, reason: str, foretold: bool
) -> None:
    entry = known_failures.read(known(FORWARD, measure), CELLS)["oracle", FORWARD]
    assert entry.foretells(error, reason) is foretold


@pytest.mark.parametrize(
    ("name", "measure", "more", "message"),
    [
        ("forward plane float64 eval", NO_KERNEL, "", "did you mean forward plain float64 eval?"),
        ("forward * float65 *", NO_KERNEL, "", "unknown id in"),
        (FORWARD, NO_KERNEL, 'backend = "fualty"', "unknown backend in"),
        (FORWARD, NO_KERNEL, "[[known]]\nid = 5\nreason = ''\nlink = ''\nmatch = 'x'", "wanted strings"),
        (
            FORWARD,
            NO_KERNEL,
            f"[[known]]\nid = '{FORWARD[:-4]}*'\nreason = ''\nlink = ''\nmatch = 'x'",
            f"two entries for faulty {FORWARD}, wanted one",
        ),
        (FORWARD, NO_KERNEL, "ticket = 7", "wanted id, reason, link, error or match, and perhaps backend"),
        (FORWARD, "", "", "one of them; add the band of the measured error, or a pattern of the failure's text"),
        (FORWARD, NO_KERNEL, "error = [1e-8, 1e-6]", "wanted error = [LOW, HIGH] or match = 'PATTERN', one of them"),
        (FORWARD, "error = [1e-6, 1e-8]", "", "two finite numbers with 0 < LOW <= HIGH <= 1000 * LOW"),
        (FORWARD, "error = [0, inf]", "", "two finite numbers"),
        (FORWARD, "error = [nan, 1]", "", "two finite numbers"),
        (FORWARD, "error = [0, true]", "", "two finite numbers"),
        (FORWARD, "error = 1e-6", "", "two finite numbers"),
        (FORWARD, "match = '('", "", "wanted a regular expression"),
        (FORWARD, "match = '(.|.)*error(.*)*$ '", "", "wanted a regular expression (regex timed out)"),
        (FORWARD, "error = [1e-8, 1.1e-5]", "", "two finite numbers"),
        (FORWARD, "match = '.*'", "", "wanted a pattern that does not match ''; give the band"),
        (FORWARD, "match = '.'", "", "wanted a pattern that does not match 'error 1.0e+00 is over its limit 1.0e+00'"),
        (FORWARD, "match = 'error'", "", "wanted a pattern that does not match 'error 1.0e+00 is over its limit"),
        (FORWARD, NO_KERNEL, "[[", "not a readable TOML file"),
        (FORWARD, NO_KERNEL, "[[knwon]]\nid = 'x'", "wanted tables headed [[known]] and nothing else"),
    ],
)
def test_an_entry_that_is_none_is_refused(known: Written, name: str, measure: str, more: str, message: str) -> None:
    with pytest.raises(VGGError) as refusal:
        known_failures.read(known(name, measure, more), CELLS)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value).partition("got")[0]


def test_a_file_that_is_not_sound_is_wrong_usage(check: Check, known: Written) -> None:
    status, result, printed = check("faulty", "--known", known("forward plane float64 eval"))
    assert (status, result) == (2, {})
    assert "did you mean forward plain float64 eval?" in printed
