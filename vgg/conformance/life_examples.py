"""Fixed lives for what a few random ones may miss: kinds of network, weight decays over all decades, dropout rates,
batch sizes, and more than 128 steps.

Each has few sizes, because a framework may compile for each. The one with many is in float64, for which JAX compiles
faster.
"""

from __future__ import annotations

from typing import Any

from ..core.blocks import Block, Conv, Head, Pool
from ..core.recipe import Recipe
from ..core.spec import Spec
from .life import Action, Evaluate, Life, Load, Look, Net, Renew, Restore, State, Step, Turn
from .life_strategies import IDLE, LONG, ROUND

_PLAIN = Spec((Block((Conv(3),)), Block((Conv(5),))), (3, 8, 9), 4, Head((7, 5), 0.3), name="plain")
_PIXELS = Spec((Block((Conv(4), Conv(3, 1, 1, 0)), Pool(3, 2)),), (1, 9, 8), 3, Head((6,), 0.7), True, "pixels")
_STRIDED = Spec((Block((Conv(5, 5, 2, 2, lrn=True),), None),), (2, 8, 7), 5, Head((), 0.0), True, "strided")
_POOLED = Spec((Block((Conv(6, stride=2, lrn=True),), Pool(3, 1)),), (2, 9, 8), 4, Head((), 0.0, True), True, "pooled")
_SMALL = Spec((Block((Conv(3),)),), (1, 4, 6), 3, Head(()), name="small")
_DEEP = Spec((Block((Conv(4),), Pool(3, 1)),), (1, 6, 7), 2, Head((5, 4, 6), 0.1), name="deep")

DRIFTING = (0.03 * (1 + 1e-6), 0.03 * (1 - 1e-4), 0.0298, 0.029, 0.0265)
"""Learning rates of consecutive steps that differ little, as those of a schedule do."""
_PAPER = {"name": "paper", "lr": 1e-3, "batch_size": 512, "size": 300}


def _recipe(dtype: str, momentum: float, decay: float, **more: Any) -> Recipe:
    others: dict[str, Any] = {"lr": 0.5, "mean": 0.1307, "std": 0.3081, "precision": dtype}
    return Recipe(momentum=momentum, weight_decay=decay, **others | more)


def _days(dtype: str) -> Life:
    """Return a life of steps and evaluations in turn, on more and fewer images; some states are kept and restored."""
    one, other = (3, 4) if dtype == "float64" else (7, 16)
    return Life(
        (Net(_PLAIN, _recipe(dtype, 0.9, 1e-6, seed=7, **IDLE), seed=1, heavy=True),),
        (
            Evaluate(5),
            Step(one),
            Evaluate(5),
            Evaluate(5),
            Step(one),
            Step(other, lr=0.1),
            Evaluate(33),
            State(),
            Step(one, lr=0.001),
            Step(other, lr=0.03),
            *(Step(one, lr=rate) for rate in DRIFTING),
            Evaluate(5),
            Step(1),
            State(),
            Step(1, own=True),
            Step(one, lr=0.0),
            State(),
            Step(one, lr=1e-7),
            Evaluate(2),
            State(),
            Restore(0, later=1000),
            Step(other),
            Step(1, own=True),
            Restore(1, later=ROUND),
            Step(one),
            Evaluate(33),
            Look(5),
            Load(),
            Evaluate(33),
            Step(one, count=2),
            State(),
        ),
    )


def _pictures(dtype: str) -> Life:
    """Return a life with pixels of two sizes, and floats; with a fresh learner, and another recipe.

    The recipes have sizes above and below the network's, which a learner must ignore.
    """
    small, large = (5, 13), (13, 5) if dtype == "float64" else _PIXELS.input_shape[1:]
    later = _recipe(dtype, 0.99, 1e-4, mean=-0.4, std=3.0, size=3)
    if dtype == "float32":
        later = _recipe(dtype, 0.0, 0.7, mean=1.5, std=0.008, lr=1e-4)
    return Life(
        (Net(_PIXELS, _recipe(dtype, 0.5, 1e-3, **IDLE | _PAPER), seed=2, heavy=True),),
        (
            Evaluate(9),
            Step(4, small),
            Step(4, large),
            Evaluate(9, large),
            Evaluate(4, (small[0], large[1])),
            Evaluate(4, (large[0], small[1])),
            Step(4, small, lr=0.03),
            Evaluate(9),
            State(),
            Step(4, lr=0.0),
            Step(4),
            Evaluate(9),
            State(),
            Restore(0, "fresh"),
            Step(4, large),
            Evaluate(9, large),
            Step(4, large, own=True),
            State(),
            Look(4),
            Renew(later),
            Step(4, small, lr=0.001),
            Evaluate(4, small),
            Step(4, small),
            State(),
        ),
        seed=1,
    )


def _neighbours(dtype: str) -> Life:
    """Return a life of two networks of one shape with different recipes, in turn, for more than 500 steps."""
    first = Net(_STRIDED, _recipe(dtype, 0.75, 1e-2, seed=1), seed=3)
    return Life(
        (first, Net(_STRIDED, _recipe(dtype, 0.3, 1e-5, seed=2), seed=4, heavy=True)),
        (
            Step(2),
            Turn(),
            Step(2, lr=0.03),
            Turn(),
            Step(2),
            State(),
            Evaluate(7),
            Turn(),
            Step(2, lr=0.1),
            Evaluate(7, count=LONG),
            State(),
            Turn(),
            Step(2, lr=0.003, count=4 * LONG if dtype == "float64" else LONG),
            State(),
            Turn(),
            Evaluate(7),
            Step(2),
            Restore(0, "renewed", ROUND),
            Step(2, count=2),
            State(),
            Turn(),
            Evaluate(7),
            State(),
        ),
        seed=2,
    )


def _recipes(dtype: str) -> Life:
    """Return a life of one model with several recipes.

    One has no momentum. The last differs from the one before it only in the scale of pixels, and its last pixels have
    the network's size.
    """
    kinds = ((0.9, 1e-5), (0.0, 0.7), (0.3, 1e-4), (0.05, 3e-6))
    after = [
        action
        for momentum, decay in kinds
        for action in (Renew(_recipe(dtype, momentum, decay)), Step(8, lr=0.03, count=2), State())
    ]
    brighter = _recipe(dtype, *kinds[-1], mean=-0.2, std=1.7)
    own = _POOLED.input_shape[1:]
    return Life(
        (Net(_POOLED, _recipe(dtype, 0.99, 5e-4), seed=5, heavy=True, pristine=True),),
        (
            State(),
            Step(8),
            Step(8),
            Evaluate(16),
            *after,
            Renew(brighter),
            Step(8),
            State(),
            Step(17, own),
            Evaluate(17, own),
            Restore(0),
            Evaluate(16),
            Restore(2),
            Step(8),
            State(),
        ),
        seed=3,
    )


def _gaps(dtype: str) -> Life:
    """Return a life with three dropout layers at a rate of 0.1, with neutral and own masks, and with batches of one."""
    return Life(
        (Net(_DEEP, _recipe(dtype, 0.5, 3e-5, seed=3), seed=6),),
        (
            Step(1),
            Step(1, own=True),
            Evaluate(1),
            Step(1, own=True),
            Step(9, lr=1e-4),
            Step(1, own=True),
            State(),
            Step(9),
            Restore(0),
            Step(1, own=True),
            Evaluate(16),
            Step(9),
            State(),
        ),
        seed=4,
    )


def _crowds(dtype: str) -> Life:
    """Return a life with so many batch sizes that a framework that compiles for each may keep only some."""
    steps = [Step(size, lr=0.03) for size in (1, 2, 3, 6, 9, 11, 17, 20, 31, 34, 65, 130, 300, 600)]
    actions: tuple[Action, ...] = (*steps, State(), Evaluate(1100), Step(3), Step(1), State(), Evaluate(7))
    return Life((Net(_SMALL, _recipe(dtype, 0.9, 1e-4), seed=7),), actions, seed=5)


FIXED = {
    "float64": tuple(life("float64") for life in (_days, _pictures, _neighbours, _recipes, _gaps, _crowds)),
    "float32": tuple(life("float32") for life in (_days, _pictures, _neighbours)),
}
