"""The suite is proven: a healthy backend passes it all, and every saboteur is caught by the check meant for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from kill_matrix import KILLS, cells, checks, heads, killed, kills, matrix
from sabotage import SABOTEURS, Bench

from vgg import Spec
from vgg.conformance.suite import given, judged
from vgg.core.layers import expand, totals

DOCUMENT = Path(__file__).parent.parent / "docs" / "kill-matrix.md"
ALONE = {saboteur.check: name for name, saboteur in reversed(SABOTEURS.items()) if saboteur.alone}
"""For each check, one that no other may catch; the published matrix has them all."""
SHARED = {"relay", "round_trip", "trajectory"}
"""Checks of which every known saboteur shows in another, wider one too."""


@pytest.fixture(scope="module")
def healthy() -> Bench:
    return Bench()


@pytest.mark.parametrize("cell", cells())
def test_a_healthy_backend_passes(healthy: Bench, cell: str) -> None:
    verdict = cells()[cell](healthy)
    assert verdict.ok, verdict.reason


def catching(name: str, asked: Iterable[str]) -> str | None:
    """The first of the checks asked that catches a saboteur."""
    return next((check for check in sorted(asked) if killed(SABOTEURS[name], check, enough=1)), None)


@pytest.mark.parametrize("name", SABOTEURS)
def test_a_saboteur_is_caught_by_the_check_meant_for_it(name: str) -> None:
    assert catching(name, {SABOTEURS[name].check}) is not None


@pytest.mark.parametrize("name", ALONE.values())
def test_a_saboteur_that_only_one_check_can_see_is_caught_by_no_other(name: str) -> None:
    assert catching(name, checks() - {SABOTEURS[name].check}) is None


def test_a_random_spec_that_fails_is_shrunk_to_a_file_that_fails_as_well(tmp_path: Path) -> None:
    bench, path = Bench(SABOTEURS["even kernels padded wrongly"].sabotage), tmp_path / "failing.toml"
    path.write_text(judged(cells()["properties float64"], bench).reason.partition("failing.toml:")[2])
    spec = Spec.load(path)
    assert 2 in [conv.kernel for block in spec.blocks for conv in block.convs]
    assert totals(expand(spec)).macs < 1000
    assert not all(judged(cell, bench).ok for cell in given(spec).values())
    assert all(judged(cell, Bench()).ok for cell in given(spec).values())


def test_every_other_check_is_the_only_one_to_catch_some_saboteur() -> None:
    assert ALONE.keys() == checks() - SHARED


def published() -> tuple[list[list[str]], list[list[str]]]:
    """(heads, rows) of both matrices: of a run of all saboteurs, and of one of those that are newer."""
    lines = [line.strip("| ").split(" | ") for line in matrix(DOCUMENT).splitlines() if line.startswith("|")]
    tables = [line for line in lines if line[0] == "saboteur"]
    return tables, [line for line in lines if line[0] not in ("saboteur", "---")]


def test_the_published_kill_matrix_has_every_saboteur_and_every_check() -> None:
    tables, rows = published()
    assert sorted(row[0] for row in rows) == sorted(SABOTEURS)
    assert tables[-1] == heads()


def test_pages_show_the_published_kill_matrix() -> None:
    assert json.loads(KILLS.read_text()) == kills(matrix(DOCUMENT))


def test_in_the_published_kill_matrix_every_saboteur_is_caught_and_some_by_one_check_alone() -> None:
    _, rows = published()
    assert [row[0] for row in rows if "**0**" in row] == []
    several = {row[0] for row in rows if len(row) - row.count(".") > 2}
    assert [name for name, saboteur in SABOTEURS.items() if saboteur.alone and name in several] == []
