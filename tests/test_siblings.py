"""The four backends are siblings: compared as syntax trees, with no framework installed."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

import vgg.backends
from vgg.core.recipe import CHOICES
from vgg.process.registry import own_names

FOLDER = Path(vgg.backends.__file__).parent
OWN = {
    "torch": {"torch"},
    "tensorflow": {"tensorflow", "keras"},
    "jax": {"jax", "flax", "optax"},
    "mxnet": {"mxnet"},
}
FILES = {
    "model": ["vgg_block", "build", "load", "dump"],
    "numbers": ["forward", "trace", "loss_and_grads", "facts"],
    "learner": ["setup", "learner"],
    "script": ["scripted"],
}
"""What each file of a backend defines of the contract, in this order."""
SIGNATURES = {
    "vgg_block": ["block", "channels", "batch_norm", "dtype", "name"],
    "build": ["spec", "dtype", "device"],
    "load": ["model", "params"],
    "dump": ["model"],
    "forward": ["model", "x", "train"],
    "trace": ["model", "x", "train"],
    "loss_and_grads": ["model", "x", "y", "train"],
    "facts": [],
    "setup": [],
    "learner": ["model", "recipe"],
    "scripted": ["source", "spec", "dtype"],
}
LONGEST_MODEL = 110
"""Lines that a student can be asked to read."""


def tree(backend: str, file: str) -> ast.Module:
    return ast.parse((FOLDER / backend / f"{file}.py").read_text())


def functions(body: list[ast.stmt]) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def function(backend: str, name: str) -> ast.FunctionDef:
    file = next(file for file, names in FILES.items() if name in names)
    return functions(tree(backend, file).body)[name]


def constant(backend: str, name: str) -> Any:
    """What a package says under that name."""
    return next(
        ast.literal_eval(node.value)
        for node in tree(backend, "__init__").body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend", own_names())
def test_each_file_has_its_part_of_the_contract_in_its_order(backend: str, file: str) -> None:
    contract = [name for name in functions(tree(backend, file).body) if name in SIGNATURES]
    assert contract == FILES[file]


@pytest.mark.parametrize("backend", own_names())
def test_a_package_names_the_contract(backend: str) -> None:
    names = constant(backend, "__all__")
    assert names == sorted([*SIGNATURES, "DECLARED", "PRECISIONS", "REPLICAS"])
    assert set(vgg.backends.FUNCTIONS) <= set(names)


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("backend", own_names())
def test_functions_take_what_the_contract_says(backend: str, name: str) -> None:
    arguments = function(backend, name).args
    assert [a.arg for a in (*arguments.args, *arguments.kwonlyargs)] == SIGNATURES[name]


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("backend", own_names())
def test_defaults_are_the_contracts(backend: str, name: str) -> None:
    arguments = function(backend, name).args
    named = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    pairs = [
        *zip(named, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    wanted = inspect.signature(getattr(vgg.backends.Backend, name)).parameters.values()
    assert {argument.arg: ast.literal_eval(value) for argument, value in pairs if value} == {
        parameter.name: parameter.default for parameter in wanted if parameter.default != parameter.empty
    }


@pytest.mark.parametrize("backend", own_names())
def test_learners_have_the_same_methods_in_the_same_order(backend: str) -> None:
    body = tree(backend, "learner").body
    learner = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == "Learner")
    public = [name for name in functions(learner.body) if not name.startswith("_")]
    assert public == ["step", "evaluate", "state", "restore"]


@pytest.mark.parametrize("backend", own_names())
def test_a_model_is_short(backend: str) -> None:
    assert len((FOLDER / backend / "model.py").read_text().splitlines()) <= LONGEST_MODEL


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend", own_names())
def test_blocks_are_read_from_the_spec_not_from_the_layer_table(backend: str, file: str) -> None:
    froms = [node for node in ast.walk(tree(backend, file)) if isinstance(node, ast.ImportFrom)]
    core = {node.module for node in froms if node.level == 3}
    names = ("blocks", "errors", "init", "layouts", "params", "recipe", "replicas", "spec")
    assert core <= {f"core.{name}" for name in names}
    assert {node.module for node in froms if node.level == 2} <= {None, "bookkeeping"}
    assert {node.module for node in froms if node.level == 1} <= {"model", "numbers", "learner"}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend", own_names())
def test_imports_are_numpy_the_standard_library_and_its_own_framework(backend: str, file: str) -> None:
    named: set[str] = set()
    for node in ast.walk(tree(backend, file)):
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            named.add(node.module.partition(".")[0])
    assert named - sys.stdlib_module_names <= {"numpy"} | OWN[backend]


@pytest.mark.parametrize("backend", own_names())
def test_declared_differences_are_known_to_the_oracle(backend: str) -> None:
    declared = constant(backend, "DECLARED")
    assert declared["running_var"] in ("population", "unbiased")
    assert declared.get("momentum", "float32") == "float32"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("backend", own_names())
def test_precisions_are_a_recipes_and_those_that_every_check_needs_are_among_them(backend: str, device: str) -> None:
    precisions = constant(backend, "PRECISIONS")[device]
    assert [name for name in CHOICES["precision"] if name in precisions] == list(precisions)
    assert set(vgg.backends.PRECISIONS[device]) <= set(precisions)
