"""Random lives: tiny networks with all that a spec can have, recipes over decades, and one or two dozen actions.

A life has few batch sizes and image sizes, because a framework may compile for each of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from ..core.blocks import Block, Conv, Head, Pool
from ..core.layers import expand
from ..core.recipe import Recipe
from ..core.spec import Spec
from .life import Action, Evaluate, Life, Load, Look, Net, Renew, Restore, State, Step, Turn

BATCHES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
MOMENTUMS = (0.9, 0.0, 0.5, 0.99, 0.3, 0.75, 0.05)
DECAYS = (0.0, 5e-4, 1e-6, 1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.7)
RATES = (0.01, 0.0, 1e-7, 1e-5, 1e-4, 1e-3, 3e-3, 0.03, 0.1, 0.3)
DROPOUTS = (0.5, 0.0, 0.1, 0.2, 0.25, 0.3, 0.7, 0.9)
LENGTHS = (12, 25)
LONG = 131
"""The number of steps of a burst: more than 128."""
ROUND = 2**16 * 3**3 * 5**3 * 7
"""A number of steps, below 2**31, that is a multiple of every likely period: of each power of 2 up to 65536, of 7, 9,
27, 100, 1000 and others.
"""
LATER = (0, 0, 0, 1000, 123_456, ROUND)
IDLE: dict[str, Any] = {
    "name": "idle",
    "epochs": 2,
    "batch_size": 3,
    "size": 5,
    "lr_drops": ((0, 0.5), (1, 0.1)),
    "init": "paper",
    "dropout": "neutral",
    "validation": 0.25,
    "plateau": (0.5, 1),
    "crop": 0.5,
    "flip": True,
    "init_convs": 1,
}
"""The fields of a recipe that concern only the training loop, and that a learner must ignore."""
FEWEST = 12
"""The fewest positions of a map under a batch norm: over very few values it magnifies rounding without bound."""


def random_lives(dtype: str) -> st.SearchStrategy[Life]:
    """Return a strategy for lives in that dtype."""
    return _lives(dtype)


@st.composite
def _lives(draw: Any, dtype: str) -> Life:
    sizes, rates = draw(_some(BATCHES, 3)), draw(_some(RATES, 3))
    sides = [None, *draw(st.lists(st.tuples(_extents, _extents), min_size=1, max_size=2))]
    nets = draw(st.lists(_nets(dtype), min_size=1, max_size=2))
    actions = draw(st.lists(_actions(dtype, sizes, sides, rates, len(nets)), min_size=LENGTHS[0], max_size=LENGTHS[1]))
    if _of(draw, range(25)) == 7:
        where = _of(draw, range(len(actions) + 1))
        actions.insert(where, Step(min(sizes), lr=min(0.01, *(rate for rate in rates if rate)), count=LONG))
    return Life(tuple(nets), tuple(actions), draw(st.integers(0, 9999)))


def _some(values: Any, most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=2, max_size=most, unique=True)


_extents = st.integers(2, 19)


@st.composite
def _actions(draw: Any, dtype: str, sizes: Any, sides: Any, rates: Any, nets: int) -> Action:  # noqa: PLR0911
    match draw(st.sampled_from(_KINDS)):
        case "step":
            count = draw(st.sampled_from((1, 1, 1, 1, 1, 2, 3)))
            return Step(_of(draw, sizes), _of(draw, sides), _of(draw, rates), count)
        case "own":
            return Step(_of(draw, (1, *sizes)), _of(draw, sides), _of(draw, rates), own=True)
        case "evaluate":
            return Evaluate(_of(draw, (*sizes, max(sizes) + 1)), _of(draw, sides))
        case "restore":
            into = _of(draw, ("used", "fresh", "used", "renewed"))
            return Restore(_of(draw, range(8)), into, _of(draw, LATER))
        case "renew":
            return Renew(draw(_recipes(dtype)))
        case "turn" if nets > 1:
            return Turn()
        case "look":
            return Look(_of(draw, sizes), _of(draw, (False, True)))
        case "load":
            return Load(_of(draw, range(1, 4)))
    return State()


_KINDS = (
    ("step",) * 9
    + ("own",)
    + ("evaluate",) * 4
    + ("state",) * 2
    + ("restore",) * 2
    + ("renew", "turn", "turn", "look", "load")
)


def _of(draw: Any, values: Any) -> Any:
    return draw(_one_of(tuple(values)))


@lru_cache(maxsize=1024)
def _one_of(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """Return a cached strategy: making one takes longer than drawing from it."""
    return st.sampled_from(values)


@st.composite
def _recipes(draw: Any, dtype: str) -> Recipe:
    return Recipe(
        lr=_of(draw, (0.05, 0.5, 1e-4)),
        **(IDLE if _of(draw, (False, False, True)) else {"batch_size": _of(draw, (128, 512))}),
        momentum=draw(_momentums),
        weight_decay=draw(_decays),
        seed=draw(_seeds),
        mean=_of(draw, (0.0, 0.3, 0.1307, 0.5, -0.2, 1.5)),
        std=_of(draw, (1.0, 0.4, 0.25, 2.0, 0.1)),
        precision=dtype,
    )


_hundredths = st.integers(0, 99).map(lambda n: n / 100)
_momentums = st.sampled_from(MOMENTUMS) | _hundredths
_decays = st.sampled_from(DECAYS) | st.integers(-60, -10).map(lambda tenths: 10 ** (tenths / 10))
_rates = st.sampled_from(DROPOUTS) | st.integers(0, 95).map(lambda n: n / 100)
_seeds = st.integers(0, 3) | st.integers(0, 1 << 40)


@lru_cache
def _nets(dtype: str) -> st.SearchStrategy[Net]:
    return st.builds(Net, _specs(), _recipes(dtype), st.integers(0, 99), st.booleans(), st.booleans())


@st.composite
def _specs(draw: Any) -> Spec:
    head = Head(tuple(draw(_hidden)), draw(_rates), _of(draw, (False, False, False, True)))
    spec = Spec(
        tuple(_of(draw, _BODIES)),
        input_shape=(_of(draw, (1, 2, 3)), _of(draw, range(6, 11)), _of(draw, range(6, 12))),
        classes=_of(draw, range(2, 7)),
        head=head,
        batch_norm=_of(draw, (False, True)),
        name="tiny",
    )
    return _calm(spec)


_hidden = st.lists(st.integers(3, 9), max_size=2)
_BODIES = (
    (Block((Conv(4),)),),
    (Block((Conv(3),)), Block((Conv(5),))),
    (Block((Conv(3), Conv(4, 1, 1, 0)), Pool(3, 2)),),
    (Block((Conv(6, lrn=True),), Pool(2, 1)),),
    (Block((Conv(4, 5, 2, 2),), None),),
    (Block((Conv(5, 2, 1, 1, lrn=True), Conv(3)), Pool(3, 1)),),
    (Block((Conv(3),), None), Block((Conv(4), Conv(3)), Pool(2, 2))),
)


def _calm(spec: Spec) -> Spec:
    """Return ``spec`` without batch norm if its maps are too small for that."""
    maps = [math.prod(row.output_shape[1:]) for row in expand(spec) if row.kind == "batch_norm"]
    return spec.modified(batch_norm=False) if min(maps, default=FEWEST) < FEWEST else spec
