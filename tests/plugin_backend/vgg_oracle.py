"""VGG in NumPy: the oracle as a backend, an example for those who bring their own.

The docstring of ``vgg.backends`` says what each function must do; an entry point of that name makes the module known.
Numbers are computed in float64, and a float32 model rounds its results. Native layout NCHW, OIHW: nothing to translate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vgg import Block, Conv, Head, Pool, Recipe, Spec, expand
from vgg.backends import VELOCITY, Array, Arrays, Step, check_batch, check_floats, check_images, check_state
from vgg.backends.bookkeeping import executed
from vgg.core import oracle as reference
from vgg.core.params import check_params
from vgg.core.recipe import LOSS_SCALE
from vgg.core.resize import resize_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


DECLARED = {"running_var": "population"}
PRECISIONS = {"cpu": ("float64", "float32", "fp16")}


@dataclass
class Model:
    """The native model: what to compute, in which dtype to give it, and canonical parameters."""

    spec: Spec
    dtype: str
    params: Arrays


def vgg_block(block: Block, channels: int, batch_norm: bool = False) -> Arrays:
    """One block, which here is its parameters: convolutions on ``channels`` input channels, and their batch norms."""
    params: Arrays = {}
    for i, conv in enumerate(block.convs, 1):
        params |= _affine(f"conv{i}", conv.channels, channels, conv.kernel, conv.kernel)
        if batch_norm:
            params |= {f"bn{i}.{part}": np.zeros(conv.channels) for part in ("bias", "running_mean")}
            params |= {f"bn{i}.{part}": np.ones(conv.channels) for part in ("weight", "running_var")}
        channels = conv.channels
    return params


def build(spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Model:
    """``spec`` block by block, then the dense layers, all weights zero."""
    params: Arrays = {}
    channels, features = spec.input_shape[0], spec.feature_shape
    for i, block in enumerate(spec.blocks, 1):
        params |= {f"block{i}.{name}": a for name, a in vgg_block(block, channels, spec.batch_norm).items()}
        channels = block.convs[-1].channels
    width = channels if spec.head.global_pool else int(np.prod(features))
    for i, hidden in enumerate((*spec.head.hidden, spec.classes), 1):
        params |= _affine(f"fc{i}", hidden, width)
        width = hidden
    return Model(spec, dtype, _rounded(params, dtype))


def load(model: Model, params: Mapping[str, Array]) -> Model:
    """Copy canonical parameters into ``model``."""
    check_params(params, model.spec)
    model.params = _rounded(params, model.dtype)
    return model


def dump(model: Model) -> Arrays:
    """Canonical parameters of ``model``, copied."""
    return _rounded(model.params, model.dtype)


def forward(model: Model, x: Array, *, train: bool = False) -> Array:
    """Logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, model.spec)
    tape = reference.forward(model.spec, model.params, x, _mode(model, len(x), train))
    return tape.logits.astype(model.dtype)


def trace(model: Model, x: Array, *, train: bool = False) -> Arrays:
    """Every layer's output, by layer name."""
    check_floats(x, model.spec)
    tape = reference.forward(model.spec, model.params, x, _mode(model, len(x), train))
    return _rounded(tape.activations, model.dtype)


def loss_and_grads(model: Model, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Mean cross-entropy and the gradient of every parameter."""
    check_floats(x, model.spec)
    loss, grads, _ = reference.loss_and_grads(model.spec, model.params, x, y, _mode(model, len(x), train))
    return loss, _rounded(grads, model.dtype)


def learner(model: Model, recipe: Recipe) -> Learner:
    """SGD on ``model``."""
    return Learner(model, recipe)


def scripted(source: str, spec: Spec, *, dtype: str = "float32") -> tuple[Model, Step | None]:
    """The network that a script states, whatever ``spec`` says, and its training step if it has one."""
    names = executed(source)
    blocks = tuple(
        Block(tuple(Conv(*conv) for conv in convs), Pool(*pool) if pool else None)
        for convs, pool in zip(names["convs"], names["pools"], strict=True)
    )
    head = Head(names["hidden"], names["dropout"], names["global_pool"])
    stated = Spec(blocks, names["input_shape"], names["classes"], head, names["batch_norm"], spec.name)
    model = load(build(stated, dtype=dtype), names["weights"])
    if "rate" not in names:
        return model, None
    recipe = Recipe(**{name: names[name] for name in ("momentum", "weight_decay", "mean", "std")})
    own = learner(model, recipe)
    return model, lambda x, y: own.step(x, y, names["rate"])


def facts() -> dict[str, Any]:
    """Versions, devices, flags that change numbers: none here."""
    return {
        "framework": f"numpy {np.__version__}",
        "versions": {"numpy": np.__version__},
        "devices": ["cpu"],
        "gpus": 0,
        "flags": {},
    }


class Learner:
    """A training step in float64, its results rounded to the model's dtype; see ``vgg.backends.Learner``.

    In fp16, images, weights and gradients are rounded to that.
    """

    def __init__(self, model: Model, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.steps = 0
        trained = {n: a for n, a in model.params.items() if not n.endswith(("running_mean", "running_var"))}
        self.velocity: Arrays = {name: np.zeros_like(array) for name, array in trained.items()}

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> float:
        """Forward, backward, update; the loss before it."""
        check_batch(x, y, self.model.spec, masks)
        model, mode = self.model, _mode(self.model, len(x), train=True, seed=(self.recipe.seed, self.steps))
        mode = mode._replace(masks=masks or mode.masks)
        loss, grads, tape = reference.loss_and_grads(model.spec, self._weights(), self._images(x), y, mode)
        grads = self._gradients(grads)
        settings = {"lr": lr, "momentum": self.recipe.momentum, "weight_decay": self.recipe.weight_decay}
        params, velocity = _doubled(model.params), _doubled(self.velocity)
        if self.recipe.precision != "fp16" or all(np.isfinite(g).all() for g in grads.values()):
            params, velocity = reference.sgd(params, grads, velocity, **settings)
        model.params = _rounded({**params, **tape.statistics}, model.dtype)
        self.velocity = _rounded(velocity, model.dtype)
        self.steps += 1
        return loss

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        check_images(x, self.model.spec)
        logits = reference.forward(self.model.spec, self._weights(), self._images(x)).logits
        return logits.astype(self.model.dtype)

    def state(self) -> Arrays:
        """Parameters, velocities and the number of steps."""
        velocity = {VELOCITY + name: v.copy() for name, v in self.velocity.items()}
        return {**dump(self.model), **velocity, "step": np.array(self.steps)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what ``state`` gave."""
        check_state(state, self.model.spec)
        load(self.model, {name: state[name] for name in self.model.params})
        self.velocity = _rounded({name: state[VELOCITY + name] for name in self.velocity}, self.model.dtype)
        self.steps = int(state["step"])

    def _images(self, x: Array) -> Array:
        if x.dtype != np.uint8:
            return self._narrow(x)
        images = (x.astype(np.float64) / 255 - self.recipe.mean) / self.recipe.std
        down, across = (resize_matrix(*s) for s in zip(x.shape[2:], self.model.spec.input_shape[1:], strict=True))
        return self._narrow(down @ images @ across.T)

    def _weights(self) -> Arrays:
        return {name: self._narrow(a) if a.ndim > 1 else a for name, a in self.model.params.items()}

    def _gradients(self, grads: Arrays) -> Arrays:
        return {name: self._narrow(g * LOSS_SCALE).astype(np.float64) / LOSS_SCALE for name, g in grads.items()}

    def _narrow(self, array: Array) -> Array:
        with np.errstate(over="ignore"):
            return array.astype(np.float16) if self.recipe.precision == "fp16" else array


def _affine(name: str, *shape: int) -> Arrays:
    return {f"{name}.weight": np.zeros(shape), f"{name}.bias": np.zeros(shape[0])}


def _rounded(arrays: Mapping[str, Array], dtype: str) -> Arrays:
    return {name: array.astype(dtype) for name, array in arrays.items()}


def _doubled(arrays: Mapping[str, Array]) -> dict[str, NDArray[np.float64]]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def _mode(model: Model, count: int, train: bool, seed: tuple[int, ...] = (0,)) -> reference.Mode:
    """With dropout masks for ``count`` images, from a generator seeded afresh."""
    random, masks = np.random.default_rng(seed), {}
    for row in expand(model.spec):
        if row.kind == "dropout":
            rate = row.attributes["rate"]
            masks[row.name] = (random.random((count, *row.output_shape)) >= rate) / (1 - rate)
    return reference.Mode(train, masks)
