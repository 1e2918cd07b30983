"""The check of a backend's claims: every claim means something, and a backend refuses what it does not claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..backends import DTYPES, LEVELS
from ..core.blocks import Block, Conv, Head
from ..core.comparator import EXACT, Verdict
from ..core.errors import VGGError
from ..core.recipe import CHOICES, Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Case
from .cell import Cell, on
from .checks import built, refused

UNKNOWN = ("float16", "bfloat16", "longdouble", "int64")
"""Dtypes that no backend can claim."""
DEVICES = ("cpu", "gpu")
_TINY = Case(Spec((Block((Conv(2),)),), input_shape=(1, 2, 3), classes=2, head=Head(()), name="tiny"))


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield the one cell that judges every backend, whatever it claims."""
    yield "claims", Cell(on(claims), LEVELS[0], ())


def claims(worker: Jobs) -> Verdict:
    """Judge whether facts and precisions are usable, and whether dtypes and levels beyond the claim are refused.

    A refusal must be one line that names the claim, and must leave the model as it was.
    """
    facts = worker.facts()
    wrong = next(_meaningless(facts, hidden=worker.device == "cpu"), "")
    if wrong:
        return refused("claims", wrong)
    dtype = facts["dtypes"][0]
    x, y = built(worker, _TINY, dtype), _TINY.labels()
    before = worker.forward(x).tobytes()
    beyond: dict[str, Callable[[], object]] = {
        f"a model in {other}": lambda other=other: worker.build(_TINY.spec, dtype=other)  # type: ignore[misc]
        for other in (*DTYPES, *UNKNOWN)
        if other not in facts["dtypes"]
    }
    if facts["level"] == "inference":
        beyond["train mode"] = lambda: worker.forward(x, train=True)
        beyond["a trace in train mode"] = lambda: worker.trace(x, train=True)
        beyond["gradients"] = lambda: worker.loss_and_grads(x, y)
    if facts["level"] != "training":
        beyond["a learner"] = lambda: worker.learner(Recipe(precision=dtype))
    wrong = "; ".join(filter(None, (_granted(what, ask) for what, ask in beyond.items())))
    if wrong:
        return refused("claims", wrong)
    same = worker.forward(x).tobytes() == before
    return Verdict(0.0, EXACT) if same else refused("claims", "what was refused changed the model")


def _granted(what: str, ask: Callable[[], object]) -> str:
    """Return what is wrong with the refusal of ``what``; an empty text if nothing is."""
    try:
        ask()
    except VGGError as error:
        message = str(error)
        return "" if "as the backend claims" in message and "\n" not in message else f"{what}: refused by {message!r}"
    return f"{what}: got it, wanted a refusal, since the backend does not claim it"


def _meaningless(facts: dict[str, Any], *, hidden: bool) -> Iterator[str]:
    """Yield a reason for every fact that nobody can use. ``hidden``: GPUs are hidden from the worker."""
    gpus, framework, devices = facts["gpus"], facts["framework"], facts["devices"]
    if type(gpus) is not int or gpus < 0:
        yield f"facts()['gpus']: got {gpus!r}, wanted a number of GPUs"
    if gpus and hidden:
        yield f"facts()['gpus']: got {gpus}, wanted 0: a worker on a CPU hides them"
    if not isinstance(framework, str) or not framework.strip():
        yield f"facts()['framework']: got {framework!r}, wanted its name and version"
    if not isinstance(devices, list) or not all(isinstance(device, str) for device in devices):
        yield f"facts()['devices']: got {devices!r}, wanted a list of names"
    for name in ("versions", "flags"):
        if not isinstance(facts[name], dict):
            yield f"facts()[{name!r}]: got {facts[name]!r}, wanted a dict"
    for device, precisions in facts["precisions"].items():
        if device not in DEVICES:
            yield f"PRECISIONS: got the device {device!r}, wanted {' or '.join(DEVICES)}"
        unknown = [name for name in precisions if name not in CHOICES["precision"]]
        if unknown:
            yield f"PRECISIONS[{device!r}]: got {unknown}, wanted some of {', '.join(CHOICES['precision'])}"
