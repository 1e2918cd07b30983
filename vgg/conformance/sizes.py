"""What real nets have and small ones lack: all architectures, depth, width, large images and large batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends import VELOCITY
from ..core import oracle
from ..core.architectures import arch
from ..core.blocks import Block, Conv, Head, Pool
from ..core.comparator import EXACT, Verdict, compare, gradient_floors, gradient_limit
from ..core.masks import masks
from ..core.oracle import Mode
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from . import checks
from .cases import STRUCTURES, Array, Arrays, Case
from .cell import Cell, on
from .switches import choices, rounded, switched, switches
from .trajectories import FLOAT64_LIMIT, MOMENTUM

DECAY = 0.02
"""The weight decay of a learner's step: so large that a weight's part in it is of the size of its gradient's."""
_MODES = ("eval", "train")
Cells = Iterator[tuple[str, Cell]]


class Large(Case):
    """A case with so many parameters that they are drawn once; those in float64 are shared and read-only."""

    def params(self, dtype: str) -> Arrays:
        """Return noisy canonical parameters, rounded to ``dtype``."""
        return {name: array.astype(dtype, copy=False) for name, array in self._params.items()}

    def labels(self) -> Array:
        """Return labels (batch,), int64, from the first class to the last in a random order."""
        ends = np.linspace(0, self.spec.classes - 1, self.batch).astype(np.int64)
        return self._random(2).permutation(ends)

    @cached_property
    def _params(self) -> dict[str, NDArray[np.float64]]:
        noisy = super()._params
        for array in noisy.values():
            array.flags.writeable = False
        return noisy

    def _noise(self, random: np.random.RandomState, shape: tuple[int, ...]) -> Array:
        return random.standard_normal(shape) if len(shape) == 1 else np.zeros(())


def _spec(shape: tuple[int, int, int], hidden: tuple[int, ...], classes: int, *blocks: Block, **more: Any) -> Spec:
    return Spec(blocks, shape, classes, Head(hidden, more.pop("dropout", 0.0)), **more)


def _block(count: int, channels: int, pool: Pool | None = None, *, lrn: bool = False) -> Block:
    return Block((Conv(channels, lrn=lrn),) * count, pool)


_HALF, _LESS = Pool(), Pool(2, 1)
_COUNTS = (1, 4, 1, 1, 5, 1, 1, 1, 1, 11, 1, 1)
_DEEP = [_block(count, 6, _LESS if i % 3 == 0 else None) for i, count in enumerate(_COUNTS)]
_WIDE = [_block(1, 64, _HALF, lrn=True), _block(1, 128, _HALF), _block(1, 256, _HALF), _block(1, 512)]

_MEDLEY = (
    Block((Conv(48, 7, 2, 3, lrn=True),), Pool(5, 2)),
    Block((Conv(101, 9, 1, 4), Conv(37, 3, 1, 2)), Pool(2, 3)),
    Block((Conv(67, 1, 2, 0), Conv(6), Conv(520), Conv(9)), None),
)
_TOWERS = _spec((3, 41, 19), (), 100, Block((Conv(8, 1, 1, 0), Conv(100, 13, 1, 6, lrn=True)), None), batch_norm=True)
_STRIPS = (
    Block((Conv(11, 3, 3, 1, lrn=True), Conv(1, lrn=True)), Pool(4, 1)),
    Block((Conv(2, 4, 1, 2, lrn=True), Conv(5, lrn=True))),
)

_NARROW: dict[str, Any] = {"input_shape": (2, 67, 101), "hidden": (13, 11), "classes": 7}
NAMED = {name: case for name, case in STRUCTURES.items() if name != "global_pool"} | {
    name: Case(arch(name).modified(**_NARROW), batch=1) for name in ("vgg11_narrow", "vgg11_narrow_bn")
}
"""Every architecture by name, on images with odd, unequal sides; those of the book's chapter at their own widths."""

SIZES = {
    "deep": Large(_spec((2, 11, 13), (9,) * 10, 6, *_DEEP, dropout=0.25, batch_norm=True), batch=4),
    "rungs": Large(_spec((2, 6, 7), (9,) * 10, 6, _block(1, 3), dropout=0.25), batch=7),
    "channels": Large(_spec((3, 9, 13), (64,), 10, *_WIDE, batch_norm=True), batch=16),
    "heads": Large(_spec((2, 47, 45), (24, 5000, 40, 2051, 2056, 24), 1000, _block(1, 2)), batch=64),
    "sums": Large(_spec((1, 260, 263), (3,), 7, _block(1, 2), batch_norm=True), batch=3),
    "tall": Large(_spec((2, 1041, 6), (11,), 6, _block(1, 3, _HALF), _block(1, 4)), batch=32),
    "broad": Large(_spec((2, 6, 1043), (11,), 6, _block(1, 3, _HALF), _block(1, 4)), batch=36),
    "crowd": Large(_spec((2, 6, 9), (7,), 1003, _block(1, 3, _HALF), _block(1, 5), batch_norm=True), batch=517),
    "maps": Large(_spec((3, 58, 34), (7,), 10, _block(2, 64, Pool(3, 2)), batch_norm=True), batch=17),
    "medley": Large(_spec((5, 61, 83), (5, 12), 37, *_MEDLEY, name="my own net, 2"), batch=3),
    "towers": Large(replace(_TOWERS, head=Head((9, 13, 7), 0.0, global_pool=True)), batch=2),
    "strips": Large(_spec((4, 10, 47), (6, 1), 2, *_STRIPS), batch=2),
    "widths": Large(arch("vgg16").modified(input_shape=(3, 32, 32), hidden=(301,), dropout=0.0), batch=2),
    "book": Large(arch("vgg11_narrow"), batch=1),
    "imagenet": Large(arch("vgg16").modified(dropout=0.0), batch=1),
}
"""The large cases by name.

The first have twelve blocks, up to eleven convolutions in a block, and eleven dense layers, most of one width, so
shapes do not show if names are sorted as text. Others have the paper's widths, with batch norm and LRN, then those of
VGG-16; dense layers of 2051 and 5000 units and 1000 classes; sums over 68,380 positions per image and 136,760 inputs;
images of more than a thousand rows or columns; batches from 1 to 517; maps of 64 channels and two million numbers.
Three nets have what no named architecture has: kernels from 1 to 13 with their strides and paddings, pools of five
kinds, channels that are prime, rise and fall, LRN over one channel, two and a hundred, a dense layer of one unit. The
last are what people run: the book's net and VGG-16, as they are.
"""

DEFAULT = {
    ("deep", "float64", False),
    ("deep", "float32", False),
    ("channels", "float64", False),
    ("channels", "float32", True),
    ("heads", "float64", False),
    ("heads", "float32", False),
    ("sums", "float64", True),
    ("sums", "float32", True),
    ("tall", "float64", False),
    ("broad", "float32", False),
    ("crowd", "float64", True),
    ("crowd", "float32", False),
    ("medley", "float32", False),
    ("towers", "float32", False),
    ("strips", "float64", False),
}
"""The (case, dtype, train mode) that are judged by default; the others are thorough."""
GRADIENTS = {("widths", "float32", False), ("maps", "float32", True)}
"""Those of which only the gradients are judged by default."""

LEARNERS = {
    ("rungs", "float64"): False,
    ("channels", "float32"): False,
    ("crowd", "float32"): False,
    ("broad", "float32"): True,
    ("heads", "float32"): True,
    ("sums", "float32"): True,
    ("tall", "float64"): True,
    ("deep", "float64"): True,
}
"""The (case, dtype) on which a learner takes a step, and whether that cell is thorough."""


def cells() -> Cells:
    """Yield cells for every architecture by name, and for ``SIZES``."""
    for name, case in NAMED.items():
        yield from _forward(name, case, "float32")
        yield from _gradients(name, case, "float64", case.spec.batch_norm)
    for name, case in SIZES.items():
        trained = case.spec.batch_norm and name != "deep"
        for dtype, train in product(("float64", "float32"), (False, True)[: 1 + trained]):
            here = (name, dtype, train)
            yield from _forward(name, case, dtype, train, thorough=here not in DEFAULT)
            yield from _gradients(name, case, dtype, train, thorough=here not in DEFAULT | GRADIENTS)
    yield "learning vgg11 float64", Cell(on(learning, NAMED["vgg11"], "float64"), "training")
    for (name, dtype), thorough in LEARNERS.items():
        yield f"learning {name} {dtype}", Cell(on(learning, SIZES[name], dtype), "training", (dtype,), thorough)
    yield "restored deep float32", Cell(on(restored, SIZES["deep"], "float32"), "training", ("float32",))
    yield "structure deep", Cell(on(checks.structure, SIZES["deep"]), "inference", ())
    yield "round_trip deep float32", Cell(on(checks.round_trip, SIZES["deep"], "float32"), "inference", ("float32",))


def learning(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge a learner's step and evaluation: loss, whole state and logits."""
    x, y = checks.built(worker, case, dtype), case.labels()
    worker.learner(Recipe(momentum=MOMENTUM, weight_decay=DECAY, precision=dtype))
    neutral = masks(case.spec, case.batch, 0, 0)
    mode = checks.declared_mode(worker)._replace(masks=neutral or None)
    chosen = {} if neutral else choices(case.spec, worker.trace(x, train=True))
    explained = rounded(case.spec, dtype, chosen, checks.taped(case, dtype, mode))
    if not explained.ok:
        return explained
    wanted = _stepped(case, dtype, mode, chosen)
    loss = np.array(worker.step(x, y, checks.LR, neutral), dtype)
    state = worker.state()
    got = {"loss": loss, **{name: a for name, a in state.items() if name != "step"}, "logits": worker.evaluate(x)}
    limit = FLOAT64_LIMIT if dtype == "float64" else gradient_limit(case.spec, dtype, case.batch)
    floors = gradient_floors({name: a for name, a in wanted.items() if name.startswith(VELOCITY)})
    return compare(got, wanted, limit=limit, dtype=dtype, floors=floors)


def _stepped(case: Case, dtype: str, mode: Mode, chosen: Arrays) -> Arrays:
    """Return the oracle's loss, state and logits after a step with the signs and winners ``chosen``."""
    weights = {name: a.astype(np.float64) for name, a in case.params(dtype).items()}
    tape = checks.taped(case, dtype, mode)
    loss, grads = oracle.backward(case.spec, weights, switched(tape, chosen), case.labels())
    still = {name: np.zeros_like(g) for name, g in grads.items()}
    weights, velocity = oracle.sgd(weights, grads, still, lr=checks.LR, momentum=MOMENTUM, weight_decay=DECAY)
    weights |= tape.statistics
    logits = oracle.forward(case.spec, weights, case.images(dtype), mode._replace(train=False)).logits
    moving = {VELOCITY + name: v for name, v in velocity.items()}
    return {"loss": np.array(loss), **moving, **weights, "logits": logits}


def restored(worker: Jobs, case: Case, dtype: str) -> Verdict:
    """Judge whether a learner's state of random numbers, restored in another order of names, comes out bit for bit."""
    checks.built(worker, case, dtype)
    worker.learner(Recipe(momentum=MOMENTUM, precision=dtype))
    random, state = np.random.RandomState(0), worker.state()
    other = {name: random.uniform(0.5, 1, a.shape).astype(a.dtype) for name, a in state.items()}
    other |= {"step": state["step"] + 7}
    worker.restore(dict(reversed(other.items())))
    return compare(worker.state(), other, limit=EXACT)


def _forward(name: str, case: Case, dtype: str, train: bool = False, *, thorough: bool = False) -> Cells:
    judge = on(checks.forward, case, dtype, train)
    yield (
        f"forward {name} {dtype} {_MODES[train]}",
        Cell(judge, "gradients" if train else "inference", (dtype,), thorough),
    )


def _gradients(name: str, case: Case, dtype: str, train: bool = False, *, thorough: bool = False) -> Cells:
    check = checks.backward if dtype == "float64" else switches
    judge = on(check, case, dtype, train)
    yield f"{check.__name__} {name} {dtype} {_MODES[train]}", Cell(judge, "gradients", (dtype,), thorough)
