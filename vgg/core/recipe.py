"""Training recipes: everything that the numbers of a run depend on, except spec, data and framework."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import limits
from .blocks import settle
from .errors import mismatch, unknown
from .texts import shown
from .values import boolean, choice, integer, named, number, sequence, text

_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("a number > 0", lambda value: value > 0),
    "momentum": ("a number in [0, 1)", lambda value: 0 <= value < 1),
    "weight_decay": ("a number >= 0", lambda value: value >= 0),
    "mean": ("a number", lambda _: True),
    "std": ("a number > 0", lambda value: value > 0),
    "validation": ("a number in [0, 1)", lambda value: 0 <= value < 1),
    "crop": ("a number in (0, 1]", lambda value: 0 < value <= 1),
}


CHOICES: dict[str, tuple[str, ...]] = {
    "dropout": ("native", "neutral"),
    "precision": ("float64", "float32", "tf32", "bf16", "fp16"),
}


INTEGERS = (
    ("epochs", 1, limits.EPOCHS),
    ("batch_size", 1, limits.BATCH),
    ("size", 1, limits.EXTENT),
    ("seed", 0, limits.SEED),
    ("init_convs", 0, limits.CONVS),
)
"""Fields that are integers, with the least and the greatest value."""


LOSS_SCALE = 1024.0
"""The factor of the loss in fp16, which keeps gradients above the smallest fp16 number.

It is fixed, because an adaptive scale would be one more thing to save, and a power of two, because that rounds nothing.
"""


def _drop(value: Any) -> tuple[int, float]:
    wanted = "pairs (epoch >= 0, factor > 0)"
    pair = sequence("recipe.lr_drops", value, wanted, limits.DROPS)
    if len(pair) != 2:
        raise mismatch("recipe.lr_drops", shown(value), wanted)
    epoch = integer("recipe.lr_drops", pair[0], 0, limits.EPOCHS)
    return epoch, number("recipe.lr_drops", pair[1], wanted, lambda factor: factor > 0)


def _plateau(value: Any) -> tuple[float, int] | tuple[()]:
    wanted = "nothing, or (factor in (0, 1), patience >= 1)"
    pair = sequence("recipe.plateau", value, wanted, limits.DROPS)
    if not pair:
        return ()
    if len(pair) != 2:
        raise mismatch("recipe.plateau", shown(value), wanted)
    factor = number("recipe.plateau", pair[0], wanted, lambda factor: 0 < factor < 1)
    return factor, integer("recipe.plateau", pair[1], 1, limits.EPOCHS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe for training: SGD with momentum on shuffled batches.

    ``size`` is the side, in pixels, of the input that an architecture given by name gets. A spec, a file and an input
    of its own keep theirs: images are resized to the network's input, and ``size`` is not used. ``lr_drops`` are pairs
    (epoch, factor): from that epoch on, counted from 0, the learning rate is ``factor`` times ``lr``. Pixels become
    ``(value / 255 - mean) / std``. Weight decay is coupled: its gradient is added to that of the loss before the
    momentum. ``dropout`` says where masks come from: each framework's own generator (native), or ``vgg.core.masks``,
    the same in all (neutral).

    ``precision`` is the number format of a step and of evaluation. With float64 the parameters and velocities are
    float64 too, otherwise they are float32. With bf16 and fp16 the pixels, batch norm's statistics, the loss and the
    update stay in float32. fp16 scales the loss by ``LOSS_SCALE``; a step whose gradients overflow changes no parameter
    and no velocity.

    ``validation`` is the share of the training images that is held out and evaluated after each epoch, in place of the
    test images. ``plateau`` is (factor, patience): the learning rate is multiplied by ``factor`` whenever validation
    accuracy has not risen for ``patience`` epochs. ``crop`` is the side of random crops as a share of the image's side;
    evaluation takes the middle. ``flip`` mirrors each image with probability 1/2. ``init_from`` is a file of weights to
    start from: the first ``init_convs`` convolutions (0: all) and all dense layers are taken where their shapes agree.

    Raises ``VGGError`` when a value is wrong.
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
    validation: float = 0.0
    plateau: tuple[float, int] | tuple[()] = ()
    crop: float = 1.0
    flip: bool = False
    init_from: str = ""
    init_convs: int = 0

    def __post_init__(self) -> None:
        for name, most in (
            ("name", limits.NAME),
            ("dataset", limits.NAME),
            ("init", limits.NAME),
            ("init_from", limits.PATH),
        ):
            self._settle(name, text, most)
        for name, low, high in INTEGERS:
            self._settle(name, integer, low, high)
        for name, (wanted, fits) in _NUMBERS.items():
            self._settle(name, number, wanted, fits)
        for name, known in CHOICES.items():
            self._settle(name, choice, known)
        self._settle("flip", boolean, "False or True")
        drops = sequence("recipe.lr_drops", self.lr_drops, "pairs (epoch >= 0, factor > 0)", limits.DROPS)
        settle(self, lr_drops=tuple(map(_drop, drops)), plateau=_plateau(self.plateau))
        if self.plateau and not self.validation:
            raise mismatch("recipe.plateau", "no validation images", "some", "set validation, to 0.1 say")

    def _settle(self, name: str, check: Callable[..., Any], *more: Any) -> None:
        settle(self, **{name: check(f"recipe.{name}", getattr(self, name), *more)})

    def lr_at(self, epoch: int, accuracies: Sequence[float] = ()) -> float:
        """Return the learning rate of an epoch, counted from 0.

        ``accuracies`` are the validation accuracies of the epochs before it. Raises ``VGGError`` for values that are
        no epoch and no accuracies.
        """
        epoch = integer("epoch", epoch, 0, limits.EPOCHS)
        rates = sequence("accuracies", accuracies, "a list of numbers", limits.EPOCHS)
        accuracies = [number("accuracies", rate, "numbers") for rate in rates]
        drops = [drop for drop in self.lr_drops if drop[0] <= epoch]
        rate = self.lr * max(drops, default=(0, 1.0))[1]
        return rate * self.plateau[0] ** self._stalls(accuracies) if self.plateau else rate

    def _stalls(self, accuracies: Sequence[float]) -> int:
        """Return how often accuracy has not risen for ``patience`` epochs.

        The epochs are counted from the best one, or from the last time that ``patience`` of them were reached.
        """
        best, since, stalls = -math.inf, 0, 0
        for accuracy in accuracies:
            best, since = max(best, accuracy), 0 if accuracy > best else since + 1
            if self.plateau and since == self.plateau[1]:
                stalls, since = stalls + 1, 0
        return stalls

    @property
    def dtype(self) -> str:
        """The dtype of parameters and velocities, float64 or float32."""
        return "float64" if self.precision == "float64" else "float32"

    def mask_seed(self, step: int) -> int:
        """Return the seed of the dropout generator for a step: 31 bits, the most that every framework accepts."""
        import hashlib  # slow to import, and only training needs it

        digest = hashlib.sha256(f"{self.seed} {step}".encode()).digest()
        return int.from_bytes(digest[:4], "little") >> 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``to_dict`` described. Raises ``VGGError`` for unknown keys and wrong values."""
        return Recipe(**named("recipe", data, FIELDS))


FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))


_QUICK = Recipe("quick", "digits", 4, 32, 32, momentum=0.9, lr_drops=((3, 0.1),), init="he_uniform")
_FASHION = dataclasses.replace(
    _QUICK, name="quick-fashion", dataset="fashion-mnist", epochs=1, batch_size=128, lr_drops=()
)
_CHAPTERS = (Recipe("chapter-2018", epochs=5, lr=0.05), Recipe("d2l-0.17", epochs=10, lr=0.05), Recipe("d2l-1.0"))
_EXERCISE = Recipe("exercise-small-input", size=56, lr=0.005, momentum=0.9, init="he_uniform", lr_drops=((8, 0.1),))
_PAPER = Recipe(
    "paper",
    epochs=74,
    batch_size=256,
    momentum=0.9,
    weight_decay=5e-4,
    init_convs=4,
    mean=0.286,
    validation=0.1,
    plateau=(0.1, 5),
    crop=0.875,
    flip=True,
)
_RECIPES = {r.name: r for r in (_QUICK, _FASHION, *_CHAPTERS, _EXERCISE, _PAPER)}
"""Recipes by name. ``quick`` and ``quick-fashion`` are for ``vgg compare``.

``chapter-2018``, ``d2l-0.17`` and ``d2l-1.0`` are the chapters' training of a narrow VGG-11 on Fashion-MNIST at 224 px;
``exercise-small-input`` is their fourth exercise. ``paper`` follows Simonyan & Zisserman (2015), section 3.1. Its crops
of 224 from 256 px are a share of the side; deeper nets start from a trained ``vgg11`` by ``init_from``. Its weights are
initialised by Xavier's scheme, which the end of that section recommends: normal weights of variance 0.01 (the scheme
``paper``) diverge within five steps.
"""


def recipe(name: str, **changes: Any) -> Recipe:
    """Return the recipe of that name with the fields in ``changes`` changed.

    Raises ``VGGError`` when the name is unknown or a value is wrong.
    """
    if not isinstance(name, str) or name not in _RECIPES:
        raise unknown("recipe", name, _RECIPES)
    return dataclasses.replace(_RECIPES[name], **named("recipe", changes, FIELDS))


def recipe_names() -> tuple[str, ...]:
    """Return every name that ``recipe`` accepts."""
    return tuple(_RECIPES)
