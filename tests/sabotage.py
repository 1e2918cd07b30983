"""How to make a saboteur: the oracle as a backend with one fault, and the check that must catch it.

A saboteur is a function of two modules, private copies of ``vgg_oracle`` (the backend) and of ``vgg.core.oracle`` (what
it computes with), and breaks one of them. The suite itself goes on with the healthy ones.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgg import BackendError, Recipe, Spec, scripts
from vgg.core import oracle as healthy
from vgg.core.errors import RefusedError
from vgg.process.client import Array, Jobs
from vgg.process.wire import Arrays
from vgg.worker import Session, described, refuses

REFERENCE = Path(healthy.__file__)
TEMPLATE = (Path(__file__).parent / "plugin_backend" / f"vgg_oracle{scripts.SUFFIX}").read_text()
"""What ``vgg code`` makes the oracle's scripts of; a saboteur changes the attribute of that name."""
ORACLE = Path(__file__).parent / "plugin_backend" / "vgg_oracle.py"
Sabotage = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Saboteur:
    """A fault, the check meant for it, and whether no other check may notice it."""

    name: str
    check: str
    alone: bool
    sabotage: Sabotage


SABOTEURS: dict[str, Saboteur] = {}


def caught_by(check: str, *, alone: bool = False) -> Callable[[Sabotage], Sabotage]:
    """Enlist a saboteur."""

    def enlist(sabotage: Sabotage) -> Sabotage:
        name = sabotage.__name__.replace("_", " ")
        if name in SABOTEURS:
            raise ValueError(f"two saboteurs are called {name!r}")
        SABOTEURS[name] = Saboteur(name, check, alone, sabotage)
        return sabotage

    return enlist


class Inside(Jobs):
    """A backend in this process: every array copied on its way, as between processes."""

    def __init__(self, sabotage: Sabotage | None = None) -> None:
        reference, oracle = _copied("vgg.core._sabotaged", REFERENCE), _copied("sabotaged_oracle", ORACLE)
        oracle.reference = reference
        oracle.TEMPLATE = TEMPLATE
        self.oracle = oracle
        if sabotage:
            sabotage(oracle, reference)
        self.session = Session("sabotaged_oracle", lambda _: None)

    def call(self, job: str, arrays: Mapping[str, Array] | None = None, **arguments: Any) -> tuple[Any, Arrays]:
        try:
            result, out = getattr(self.session, job)({n: a.copy() for n, a in (arrays or {}).items()}, **arguments)
        except (AttributeError, LookupError, NameError, TypeError):
            raise  # the saboteur itself is broken: that must not count as caught
        except Exception as error:
            kind = RefusedError if refuses(error) else BackendError
            raise kind(f"{job}: {described(error)}") from error
        return result, {name: array.copy() for name, array in out.items()}


@dataclass
class Bench:
    """What a cell may use: the saboteur, once more with nothing left over, and the healthy oracle."""

    sabotage: Sabotage | None = None

    def __post_init__(self) -> None:
        self._worker, self._healthy = Inside(self.sabotage), Inside()

    def worker(self) -> Inside:
        return self._worker

    def fresh(self) -> AbstractContextManager[Inside]:
        return nullcontext(Inside(self.sabotage))

    def source(self, name: str) -> Inside:
        return self._healthy

    def script(self, spec: Spec, *, recipe: Recipe | None = None, weights: Path | None = None) -> str:
        return scripts.rendered(self._worker.oracle.TEMPLATE, spec, recipe, weights, where="oracle")


def _copied(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def around(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace ``module.name`` by ``wrapper(original, *arguments)``."""
    original = getattr(module, name)
    setattr(module, name, lambda *a, **k: wrapper(original, *a, **k))


def of_kind(r: Any, kind: str, wrapper: Callable[..., Any], *, backward: bool = False) -> None:
    """Replace a layer kind's rule likewise."""
    rules = r._BACKWARD if backward else r._FORWARD
    original = rules[kind]
    rules[kind] = lambda *a: wrapper(original, *a)


def on_own(own_too: Callable[[Arrays], Arrays]) -> Callable[..., Any]:
    return lambda original, row, own, *rest: original(row, own_too(own), *rest)


def coarse(x: Array, bits: int) -> Array:
    """Rounded to a mantissa of that many bits: 10 in TF32, 7 in bf16."""
    fraction, exponent = np.frexp(x)
    rounded: Array = np.ldexp(np.round(np.ldexp(fraction, bits + 1)), exponent - bits - 1)
    return rounded
