"""A learner's life as plain data: networks, recipes, and the actions that their learners go through in order.

Every action is valid at any place: the number of what it refers to is taken modulo how many there are. So any action
may be left out, which is how a failing life is shortened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.params import shapes
from ..core.recipe import Recipe
from ..core.spec import Spec
from .cases import Array, Arrays

Sides = tuple[int, int] | None
HEAVY = -64.0


@dataclass(frozen=True)
class Net:
    """A network and the recipe of its first learner; ``seed`` is that of its parameters.

    ``heavy``: one unit has a bias of -64 and large weights, so it never fires and has no gradient. Only weight decay
    changes it, and by much: a decay of a millionth shows, in float32 too. ``pristine``: the batch norms are as before
    training, with scales and variances of 1, offsets and means of 0.
    """

    spec: Spec
    recipe: Recipe
    seed: int = 0
    heavy: bool = False
    pristine: bool = False

    def params(self, again: int = 0) -> Arrays:
        """Return canonical parameters in the recipe's dtype, none of them 0 or 1; ``again`` numbers other ones."""
        random = np.random.RandomState([self.seed, again])
        noisy = {name: _noisy(name, random.standard_normal(shape)) for name, shape in shapes(self.spec).items()}
        noisy |= {name: _before_training(name, a) for name, a in noisy.items() if self.pristine and ".bn" in name}
        params = {name: array.astype(self.recipe.dtype) for name, array in noisy.items()}
        return _with_a_heavy_unit(self.spec, params) if self.heavy else params


@dataclass(frozen=True)
class Step:
    """Train on ``batch`` images, ``count`` times.

    The images are uint8 pixels of ``sides``, or without these floats of the network's sides. Dropout masks are neutral;
    ``own``: the framework draws them.
    """

    batch: int = 2
    sides: Sides = None
    lr: float = 0.01
    count: int = 1
    own: bool = False


@dataclass(frozen=True)
class Evaluate:
    """Ask the learner for the logits of ``batch`` images, ``count`` times."""

    batch: int = 2
    sides: Sides = None
    count: int = 1


@dataclass(frozen=True)
class State:
    """Ask the learner for its whole state, and keep it for a later ``Restore``."""


@dataclass(frozen=True)
class Restore:
    """Restore the kept state of that number, as if it had been taken ``later`` steps later.

    ``into``: the present learner (``used``), a new one on the same model (``renewed``) or on a new model (``fresh``).
    """

    number: int = 0
    into: str = "used"
    later: int = 0


@dataclass(frozen=True)
class Renew:
    """Make a new learner on the present model: parameters stay, velocities and steps begin at zero."""

    recipe: Recipe


@dataclass(frozen=True)
class Turn:
    """Go on with the next network and its learner; the present ones stay as they are."""


@dataclass(frozen=True)
class Look:
    """Ask the model, not its learner, for its parameters and the logits of ``batch`` images.

    In eval mode also ask for the loss and the gradients.
    """

    batch: int = 2
    train: bool = False


@dataclass(frozen=True)
class Load:
    """Load the network's parameters of that number into the learner's model; velocities and steps go on."""

    number: int = 1


Action = Step | Evaluate | State | Restore | Renew | Turn | Look | Load


@dataclass(frozen=True)
class Life:
    """Networks that exist at once, and the actions on their learners; ``seed`` is that of the images."""

    nets: tuple[Net, ...]
    actions: tuple[Action, ...]
    seed: int = 0

    @cached_property
    def dtype(self) -> str:
        """The dtype of the models."""
        return self.nets[0].recipe.dtype

    def batch(self, number: int, spec: Spec, size: int, sides: Sides) -> tuple[Array, NDArray[np.int64]]:
        """Return images (size, C, H, W) and labels (size,), different for each number."""
        random = np.random.RandomState([self.seed, number])
        channels, *own = spec.input_shape
        labels = random.randint(0, spec.classes, size).astype(np.int64)
        if sides:
            return random.randint(0, 256, (size, channels, *sides)).astype(np.uint8), labels
        return random.standard_normal((size, channels, *own)).astype(self.dtype), labels


def script(life: Life) -> str:
    """Return a Python program that replays this life with the backend that its first argument names."""
    names = ("Evaluate", "Life", "Load", "Look", "Net", "Renew", "Restore", "State", "Step", "Turn")
    return "\n".join(
        [
            "import sys",
            "from vgg import Recipe, Spec",
            f"from vgg.conformance.life import {', '.join(names)}",
            "from vgg.conformance.lives import replay",
            "from vgg.process import registry",
            "from vgg.process.client import Worker",
            "",
            "life = Life(",
            "    nets=(",
            *(f"        {_code(net)}," for net in life.nets),
            "    ),",
            "    actions=(",
            *(f"        {_code(action)}," for action in life.actions),
            "    ),",
            f"    seed={life.seed},",
            ")",
            "with Worker(registry.find(sys.argv[1])) as worker:",
            "    print(replay(worker, life))",
        ]
    )


def _code(value: Any) -> str:
    """Return a Python expression for that value, without arguments that have their default."""
    if isinstance(value, Spec):
        return f"Spec.from_json({value.to_json()!r})"
    if is_dataclass(value):
        return f"{type(value).__name__}({', '.join(_arguments(value))})"
    return repr(value)


def _arguments(value: Any) -> Iterator[str]:
    for field in fields(value):
        argument = getattr(value, field.name)
        if field.default is MISSING or argument != field.default:
            yield f"{field.name}={_code(argument)}"


def _noisy(name: str, noise: Array) -> Array:
    """Return a parameter made from noise: He-initialized weights, batch norm scales about 1, variances above 1/2."""
    if name.endswith("running_var"):
        return 0.5 + np.abs(noise)
    if noise.ndim > 1:
        return noise * math.sqrt(2 / math.prod(noise.shape[1:]))
    return 0.3 * noise + name.endswith("weight")


def _before_training(name: str, array: Array) -> Array:
    """Return a batch norm's parameter as it is before training."""
    return np.full_like(array, name.endswith((".weight", "running_var")))


def _with_a_heavy_unit(spec: Spec, params: Arrays) -> Arrays:
    """Return ``params`` with a heavy unit: the first of the first hidden layer, else of the last convolution."""
    layers = [name.removesuffix(".weight") for name in params if name.endswith(".weight")]
    before = layers.index("fc1") - 1
    layer = "fc1" if spec.head.hidden else layers[before]
    weight, bias = (params[f"{layer}.{part}"].copy() for part in ("weight", "bias"))
    bias[0] = HEAVY
    weight[0] *= 1 if weight.ndim == 1 else 4
    return params | {f"{layer}.weight": weight, f"{layer}.bias": bias}
