"""Read the masks that a learner draws itself off its gradients: those of every layer, for each image of a batch.

A dense weight's gradient is a sum over images of the gradient at the layer's output times its input, which is the
hidden units before it times their mask. The gradient at the output is known, from the last layer backward, and differs
between images, so the sum can be separated. The oracle then takes a step with these masks, which must be the same step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core import oracle
from ..core.blocks import Block, Conv, Head
from ..core.comparator import ROUNDOFF, Limit, Verdict, compare, gradient_floors, gradient_limit
from ..core.layers import expand
from ..core.oracle import Mode
from ..core.recipe import Recipe
from ..core.spec import Spec
from .cases import Array, Arrays, Case
from .checks import scale_roundings
from .courses import prepared
from .independence import Kept

CLASSES = 35
"""More than a batch has images: each has its own label, so gradients at the last layer differ between images."""
SPREAD = 0.07
"""The standard deviation of a hidden unit around 1: all units are above zero, whatever is dropped before them."""


@dataclass(frozen=True)
class Draw:
    """What masks are read from: a net with ``hidden`` layers of these widths, a batch size, and a precision and seed.

    ``sides`` are those of uint8 pixels; without them images are floating. ``labelling`` is the seed of the labels.
    """

    rate: float
    precision: str
    seed: int
    batch: int
    hidden: tuple[int, ...]
    sides: tuple[int, int] | None = None
    batch_norm: bool = False
    momentum: float = 0.5
    labelling: int = 10

    @property
    def spec(self) -> Spec:
        """The spec: one convolution, no pool whose winner might change, and the hidden layers."""
        blocks = (Block((Conv(3),), None),)
        return Spec(blocks, (2, 2, 3), CLASSES, Head(self.hidden, self.rate), self.batch_norm, "masked")

    @property
    def recipe(self) -> Recipe:
        """The recipe, with momentum, so that the state holds gradients."""
        return Recipe(momentum=self.momentum, mean=0.5, std=0.5, precision=self.precision, seed=self.seed)

    @property
    def rows(self) -> list[str]:
        """The names of the dropout layers."""
        return [row.name for row in expand(self.spec) if row.kind == "dropout"]

    @property
    def params(self) -> Arrays:
        """Parameters in the precision's dtype: biases of 1 and small weights, so that every unit is above zero."""
        return {name: array.astype(self.recipe.dtype) for name, array in self.exact.items()}

    @cached_property
    def exact(self) -> Arrays:
        """The parameters, as float64."""
        params = Case(self.spec, seed=self.seed % 1000).params("float64")
        for name in [name for name, array in params.items() if name.endswith("weight")]:
            weight, bias = params[name], name.replace("weight", "bias")
            spread, kept = 1.0 if "conv" in name and self.batch_norm else SPREAD, 1.0
            if name.startswith("fc") and name != "fc1.weight":
                kept -= self.rate  # the fewer units are kept, the larger the input
            size = np.sqrt(np.square(weight).mean() * math.prod(weight.shape[1:]) / kept)
            params |= {name: weight / size * spread, bias: np.ones_like(params[bias])}
        return {name: array.astype(self.recipe.dtype).astype(np.float64) for name, array in params.items()}

    @cached_property
    def images(self) -> Array:
        """Images (batch, C, H, W), or pixels (batch, C, *sides); the first two are the same image."""
        random, shape = np.random.RandomState(9), (self.batch, *self.spec.input_shape)
        images = random.standard_normal(shape).astype(self.recipe.dtype)
        if self.sides:
            images = random.randint(0, 256, (*shape[:2], *self.sides)).astype(np.uint8)
        images[1:2] = images[0]
        return images

    @cached_property
    def seen(self) -> NDArray[np.float64]:
        """The images as the net gets them, (batch, C, H, W)."""
        return prepared(self.images, self.recipe, self.spec)

    @cached_property
    def labels(self) -> Array:
        """Labels (batch,), pairwise distinct, int64."""
        return np.random.RandomState(self.labelling).permutation(CLASSES)[: self.batch].astype(np.int64)

    @cached_property
    def back(self) -> NDArray[np.float64]:
        """The loss' gradient by the logits (batch, classes) without dropout.

        Masks change it little, because logits are small.
        """
        nothing = {row: np.ones((self.batch, width)) for row, width in zip(self.rows, self.hidden, strict=True)}
        logits = oracle.forward(self.spec, self.exact, self.seen, Mode(train=True, masks=nothing)).logits
        return oracle.cross_entropy(logits, self.labels)[1]


def unmasked(draw: Draw, grads: Arrays) -> Kept:
    """Return which units a step kept, (layers, images, units), read off its gradients.

    The factor of kept units does not matter, as long as it is far above zero.
    """
    back, kept = draw.back, []
    for number in range(len(draw.hidden) + 1, 1, -1):
        inputs = np.linalg.lstsq(back.T, grads[f"fc{number}.weight"], rcond=None)[0]
        kept.append(inputs > inputs.max() / 4)
        back = back @ draw.exact[f"fc{number}.weight"] * kept[-1]
    return np.stack(kept[::-1])


def stepped(draw: Draw, kept: Kept, scale: float, mode: Mode, got: tuple[float, Arrays]) -> Verdict:
    """Judge a step's loss and gradients against the oracle's with these masks, and the factor of kept units."""
    loss, grads = got
    masks = dict(zip(draw.rows, kept * scale, strict=True))
    exact, wanted, _ = oracle.loss_and_grads(draw.spec, draw.exact, draw.seen, draw.labels, mode._replace(masks=masks))
    scales = _scaled(draw, grads, wanted, scale)
    if not scales.ok:
        return scales
    limit = gradient_limit(draw.spec, draw.precision, draw.batch)
    results = {"loss": np.array(loss), **grads}
    return compare(results, {"loss": np.array(exact), **wanted}, limit=limit, floors=gradient_floors(wanted))


def _scaled(draw: Draw, grads: Arrays, wanted: Arrays, scale: float) -> Verdict:
    """Judge the factor between the gradients and the oracle's, last layer first.

    Over many thousand terms of either sign roundings cancel, except those of the scales.
    """
    limit, worst = _scale_limit(draw), 0.0
    for number, row in reversed(list(enumerate(draw.rows, 2))):
        got, exact = grads[f"fc{number}.weight"].ravel(), wanted[f"fc{number}.weight"].ravel()
        factor = float(got @ exact / (exact @ exact))
        if not abs(factor - 1) <= limit:
            reason = f"{row}: a step multiplies by {factor * scale:.9g}, wanted 0 or {scale:.9g}"
            return Verdict(abs(factor - 1), limit, row, reason)
        worst = max(worst, abs(factor - 1))
    return Verdict(worst, limit)


def _scale_limit(draw: Draw) -> Limit:
    if draw.precision == "float64":
        return gradient_limit(draw.spec, draw.precision, draw.batch)
    roundings = len(draw.rows) * scale_roundings(draw.rate) + 2
    basis = f"{roundings:.1f} roundoffs of {draw.precision}: of each layer's 1 / (1 - rate), and two of the loss"
    return Limit(roundings * ROUNDOFF[draw.precision], basis)
