"""Frozen training recipes: everything a run's numbers depend on besides spec, data and framework."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import mismatch, unknown

_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("a number > 0", lambda value: value > 0),
    "momentum": ("a number in [0, 1)", lambda value: 0 <= value < 1),
    "weight_decay": ("a number >= 0", lambda value: value >= 0),
    "mean": ("a number", lambda _: True),
    "std": ("a number > 0", lambda value: value > 0),
}


CHOICES = {"dropout": ("native", "neutral"), "precision": ("float64", "float32", "tf32", "bf16", "fp16")}


LOSS_SCALE = 1024.0
"""What fp16 multiplies the loss by, lest gradients fall below its smallest number. Fixed: a scale that adapts would be
one more thing to save, and a power of two rounds nothing."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _drops(value: Any) -> tuple[tuple[int, float], ...]:
    try:
        drops = tuple((epoch, factor) for epoch, factor in value)
    except (TypeError, ValueError):
        drops = ((None, None),)
    if not all(type(epoch) is int and epoch >= 0 and _is_number(factor) and factor > 0 for epoch, factor in drops):
        raise mismatch("recipe.lr_drops", repr(value), "pairs (epoch >= 0, factor > 0)")
    return drops


@dataclass(frozen=True, slots=True)
class Recipe:
    """SGD with momentum on shuffled batches. ``size`` is the side, in pixels, that images are resized to.

    ``lr_drops`` are (epoch, factor) pairs: from that epoch on, counted from 0, the learning rate is ``factor`` times
    ``lr``. Pixels become ``(value / 255 - mean) / std``. Weight decay is coupled: its gradient joins the loss' before
    the momentum. ``dropout``: masks from each framework's own generator (native), or from ``vgg.masks``, the same in
    all (neutral). ``precision``: of the arithmetic of a step and of evaluation; parameters and velocities are float64
    where it is, float32 otherwise. bf16 and fp16 leave pixels, batch norm's statistics, the loss and the update in
    float32. fp16 scales the loss by ``LOSS_SCALE``; a step whose gradients overflow changes no parameter, no velocity.
    """

    name: str = "custom"
    dataset: str = "fashion-mnist"
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
    dropout: str = "native"
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("name", "dataset", "init"):
            if not isinstance(getattr(self, name), str):
                raise mismatch(f"recipe.{name}", repr(getattr(self, name)), "a string")
        for name, low in (("epochs", 1), ("batch_size", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise mismatch(f"recipe.{name}", repr(value), f"an integer >= {low}")
        for name, (wanted, fits) in _NUMBERS.items():
            value = getattr(self, name)
            if not (_is_number(value) and fits(value)):
                raise mismatch(f"recipe.{name}", repr(value), wanted)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise mismatch(f"recipe.{name}", repr(getattr(self, name)), " or ".join(known))
        object.__setattr__(self, "lr_drops", _drops(self.lr_drops))

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        passed = [drop for drop in self.lr_drops if drop[0] <= epoch]
        return self.lr * max(passed, default=(0, 1.0))[1]

    @property
    def dtype(self) -> str:
        """Of parameters and velocities."""
        return "float64" if self.precision == "float64" else "float32"

    def mask_seed(self, step: int) -> int:
        """What the dropout generator is seeded with before a step: 31 bits, all that every framework takes."""
        digest = hashlib.sha256(f"{self.seed} {step}".encode()).digest()
        return int.from_bytes(digest[:4], "little") >> 1

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
        return Recipe(**data)


_QUICK = Recipe("quick", "digits", 4, 32, 32, momentum=0.9, lr_drops=((3, 0.1),), init="he_uniform")
_FASHION = dataclasses.replace(
    _QUICK, name="quick-fashion", dataset="fashion-mnist", epochs=1, batch_size=128, lr_drops=()
)
_CHAPTERS = (Recipe("chapter-2018", epochs=5, lr=0.05), Recipe("d2l-0.17", epochs=10, lr=0.05), Recipe("d2l-1.0"))
_RECIPES = {r.name: r for r in (_QUICK, _FASHION, *_CHAPTERS)}
"""``quick`` and ``quick-fashion`` serve ``vgg compare``; the others are the textbook chapters' (narrow VGG-11,
Fashion-MNIST at 224 px)."""


def recipe(name: str, **changes: Any) -> Recipe:
    """The recipe of that name, with the given fields changed."""
    if name not in _RECIPES:
        raise unknown("recipe", name, _RECIPES)
    return dataclasses.replace(_RECIPES[name], **changes)


def recipe_names() -> tuple[str, ...]:
    """Every name that ``recipe`` knows."""
    return tuple(_RECIPES)
