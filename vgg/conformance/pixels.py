"""uint8 pixels as learners get them: channels, sides that grow or shrink, the recipes' scales, black and white."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..backends import VELOCITY
from ..core import oracle
from ..core.blocks import Block, Conv, Head, Pool
from ..core.comparator import Verdict, compare, gradient_floors, gradient_limit
from ..core.recipe import Recipe
from ..core.spec import Spec
from ..process.client import Jobs
from .cases import Array, Case
from .cell import Cell, on
from .checks import LR, declared_mode, eval_mode
from .courses import prepared


@dataclass(frozen=True)
class Picture:
    """``case.batch`` images of ``sides`` for a small net of other sides, with pixels from 0 to ``most``.

    ``stark``: pixels are only 0 or 255. ``night``: the last image is black.
    """

    case: Case
    sides: tuple[int, int]
    mean: float = 0.0
    std: float = 1.0
    dtype: str = "float32"
    stark: bool = False
    most: int = 255
    night: bool = False

    def images(self) -> Array:
        """Return uint8 images (N, C, *sides), which contain the extreme values."""
        shape = (self.case.batch, self.case.spec.input_shape[0], *self.sides)
        pixels = np.random.RandomState(self.case.seed).randint(0, self.most + 1, shape)
        pixels[0, 0].flat[:2] = (0, self.most)[: pixels[0, 0].size]
        pixels[self.case.batch - self.night :] = 0
        return (255 * (pixels > 127) if self.stark else pixels).astype(np.uint8)


def pixels(worker: Jobs, picture: Picture) -> Verdict:
    """Judge an evaluation, a step and another evaluation on pixels: logits, loss and the whole state."""
    case, dtype, images = picture.case, picture.dtype, picture.images()
    recipe = Recipe(momentum=0.9, mean=picture.mean, std=picture.std, precision=dtype)
    weights = {name: array.astype(np.float64) for name, array in case.params(dtype).items()}
    x, y = prepared(images, recipe, case.spec), case.labels()
    worker.build(case.spec, case.params(dtype), dtype=dtype)
    worker.learner(recipe)
    got = {"logits before": worker.evaluate(images), "loss": np.array(worker.step(images, y, LR))}
    got |= {**worker.state(), "logits": worker.evaluate(images)}
    wanted = {"logits before": oracle.forward(case.spec, weights, x, eval_mode(worker)).logits}
    loss, grads, tape = oracle.loss_and_grads(case.spec, weights, x, y, declared_mode(worker))
    weights, velocity = oracle.sgd(weights, grads, {n: np.zeros_like(g) for n, g in grads.items()}, lr=LR)
    weights |= tape.statistics
    moving = {VELOCITY + name: v for name, v in velocity.items()}
    logits = oracle.forward(case.spec, weights, x, eval_mode(worker)).logits
    wanted |= {"loss": np.array(loss), **moving, **weights, "step": np.array(1), "logits": logits}
    limit = gradient_limit(case.spec, dtype, case.batch)
    return compare(got, wanted, limit=limit, floors=gradient_floors(moving))


def _case(shape: tuple[int, int, int], batch: int, conv: Conv, pool: Pool, *, batch_norm: bool = False) -> Case:
    blocks = (Block((conv,), pool),)
    head = Head((5,), dropout=0.0)
    return Case(Spec(blocks, input_shape=shape, classes=4, head=head, batch_norm=batch_norm, name="pixels"), batch)


_TWO, _FOUR = Pool(2, 2), Pool(4, 4)
PICTURES = {
    "digits": Picture(_case((1, 32, 32), 4, Conv(3), _FOUR), (8, 8)),
    "fashion": Picture(_case((1, 224, 224), 3, Conv(4, 7, 7, 0), Pool(8, 8)), (28, 28), 0.286),
    "halves": Picture(_case((1, 35, 35), 5, Conv(3), _FOUR), (70, 70), 0.286, 0.353, "float64"),
    "stark": Picture(_case((1, 13, 10), 4, Conv(4), _TWO), (28, 28), 0.1307, 0.3081, stark=True),
    "same": Picture(_case((1, 13, 9), 3, Conv(4), _TWO), (13, 9), 0.5, 0.5),
    "wider": Picture(_case((2, 9, 22), 4, Conv(3), _TWO), (9, 13), 0.45, 0.225),
    "lower": Picture(_case((2, 9, 13), 2, Conv(4), _TWO), (36, 13), 0.5, 0.5, "float64"),
    "turned": Picture(_case((3, 25, 17), 3, Conv(4), _FOUR, batch_norm=True), (12, 33), 0.449, 0.226, "float64"),
    "alone": Picture(_case((3, 22, 21), 1, Conv(4), _FOUR, batch_norm=True), (11, 7), 0.485, 0.229),
    "photos": Picture(_case((3, 32, 40), 2, Conv(4), _FOUR), (300, 260), 0.485, 0.229),
    "thirds": Picture(_case((2, 13, 9), 3, Conv(3), _TWO), (39, 36), 0.5, 0.25, "float64", night=True),
    "row": Picture(_case((4, 13, 9), 3, Conv(4), _TWO), (1, 17), 0.3, 0.4, most=100),
    "column": Picture(_case((2, 7, 6), 2, Conv(4), _TWO), (19, 1), 0.0, 0.3, "float64", most=200),
    "dots": Picture(_case((1, 6, 7), 3, Conv(4), _TWO), (1, 1), 0.1, 0.6, "float64", most=0),
    "crowd": Picture(_case((3, 6, 7), 203, Conv(4), _TWO), (6, 7), 0.45, 0.225, "float64", night=True),
}
"""The pictures by name: digits and Fashion-MNIST enlarged, from 8 to 32 and from 28 to 224; sides shrunk to a half, a
third, a quarter and less; one axis alone; one axis enlarged and the other shrunk; images of the network's size, of one
row, one column or one pixel; dark and black images; a batch of one and one of 203; from one channel to four."""


def cells() -> Iterator[tuple[str, Cell]]:
    """Yield a cell for every picture, in its dtype."""
    for name, picture in PICTURES.items():
        yield f"pixels {name} {picture.dtype}", Cell(on(pixels, picture), "training", (picture.dtype,))
