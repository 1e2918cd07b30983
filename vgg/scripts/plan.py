"""What a script's training can do of a recipe, and the files that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.errors import mismatch
from ..core.recipe import Recipe
from ..core.spec import Spec

SCHEMES = ("xavier_uniform", "he_uniform", "he_normal")
"""The initial values that every framework can state in a word."""
_IGNORED = ("name", "dataset", "epochs", "batch_size", "size", "lr", "momentum", "weight_decay", "mean", "std", "seed")
_CHAPTERS = Recipe()


@dataclass(frozen=True)
class Data:
    """The files of a dataset: (channels, height, width) of its images, and how many classes there are."""

    name: str
    shape: tuple[int, int, int]
    classes: int = 10


DATA = {"fashion-mnist": Data("fashion-mnist", (1, 28, 28)), "digits": Data("digits", (1, 8, 8))}


def files_of(recipe: Recipe) -> Data:
    """Return the files that a script reads. Raises ``VGGError`` when ``recipe`` asks for more than a script does."""
    if recipe.dataset not in DATA:
        raise mismatch("recipe.dataset", recipe.dataset, " or ".join(DATA), "vgg code reads no other files")
    if recipe.init not in SCHEMES:
        raise mismatch("recipe.init", recipe.init, f"one of {', '.join(SCHEMES)}", "or load weights by --weights")
    for name, usual in _simple().items():
        if getattr(recipe, name) != usual:
            wanted = f"{usual!r}, since a script of vgg code does no more"
            raise mismatch(f"recipe.{name}", repr(getattr(recipe, name)), wanted, _DO)
    return DATA[recipe.dataset]


def check_fit(spec: Spec, data: Data) -> None:
    """Raise ``VGGError`` when ``spec`` is not for images and classes of ``data``."""
    if spec.input_shape[0] != data.shape[0]:
        wanted = f"{data.shape[0]}, as {data.name} has"
        raise mismatch("input channels", spec.input_shape[0], wanted, f"use --input {data.shape[0]}xHxW")
    if spec.classes < data.classes:
        raise mismatch("--classes", spec.classes, f"at least {data.classes}, as {data.name} has")


_DO = "set it with --set, or use vgg train"


def _simple() -> dict[str, Any]:
    """Return the fields that a script knows one value of, and that value."""
    fields = _CHAPTERS.to_dict()
    simple = {name: value for name, value in fields.items() if name not in (*_IGNORED, "init")}
    return simple | {"lr_drops": ()}
