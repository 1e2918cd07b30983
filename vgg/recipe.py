"""Frozen training recipes: everything a run's numbers depend on besides spec, data and framework."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import mismatch, unknown


@dataclass(frozen=True, slots=True)
class Recipe:
    """SGD with momentum on shuffled batches. ``size`` is the side, in pixels, that images are resized to.

    ``lr_drops`` are (epoch, factor) pairs: from that epoch on, counted from 0, the learning rate is ``factor`` times ``lr``.
    Pixels become ``(value / 255 - mean) / std``. Weight decay is coupled: its gradient joins the loss' before the momentum.
    """

    name: str = "custom"
    epochs: int = 10
    batch_size: int = 128
    size: int = 224
    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    lr_drops: tuple[tuple[int, float], ...] = ()
    init: str = "xavier_uniform"
    seed: int = 0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise mismatch(f"recipe.{name}", repr(value), f"an integer >= {low}")
        if not (self.lr > 0 and 0 <= self.momentum < 1 and self.weight_decay >= 0 and self.std > 0):
            raise mismatch(f"recipe {self.name}", self, "lr > 0, 0 <= momentum < 1, weight_decay >= 0, std > 0")

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        passed = [factor for start, factor in self.lr_drops if start <= epoch]
        return self.lr * (passed[-1] if passed else 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Recipe:
        """The recipe that ``to_dict`` described; unknown keys are a ``VGGError``."""
        names = [f.name for f in dataclasses.fields(Recipe)]
        for key in data:
            if key not in names:
                raise unknown("key in recipe", key, names)
        drops = tuple((int(epoch), float(factor)) for epoch, factor in data.get("lr_drops", ()))
        return Recipe(**{**data, "lr_drops": drops})


_RECIPES = {
    r.name: r
    for r in (
        Recipe("quick", epochs=6, batch_size=32, size=32, lr=0.01, momentum=0.9, init="he_uniform"),
        Recipe("chapter-2018", epochs=5, lr=0.05),
        Recipe("d2l-0.17", epochs=10, lr=0.05),
        Recipe("d2l-1.0", epochs=10, lr=0.01),
    )
}
"""``quick`` serves ``vgg compare``; the others are the textbook chapters' (narrow VGG-11, Fashion-MNIST at 224 px)."""


def recipe(name: str, **changes: Any) -> Recipe:
    """The recipe of that name, with the given fields changed."""
    if name not in _RECIPES:
        raise unknown("recipe", name, _RECIPES)
    return dataclasses.replace(_RECIPES[name], **changes)


def recipe_names() -> tuple[str, ...]:
    """Every name that ``recipe`` knows."""
    return tuple(_RECIPES)
