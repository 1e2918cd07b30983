"""The contract of a backend: one module with the functions below, in this order. At the seam everything is NumPy.

Images are NCHW: float32 or float64, taken as they are; a learner's ``step`` and ``evaluate`` also take uint8 pixels,
which the worker refuses to the other functions. Labels are int64 (N,), parameters and gradients go under canonical
names. ``forward``, ``trace`` and ``loss_and_grads`` leave the model as it was and give the same answer twice:
in train mode they draw dropout masks from a generator seeded afresh, so the mask in a trace is the mask behind the
gradients.

Nothing is swallowed, unless ``DECLARED`` says so. In eval mode a NaN in an image makes all logits of that image NaN,
and those of no other; a NaN in a parameter makes NaN of all that depends on it; a loss over any of these is NaN. An
infinite pixel makes the logits of its image infinite or NaN. Which gradients are NaN then is not promised, except
that of the last bias. Logits of any size have a finite loss: the largest is subtracted before ``exp``. Over one
class, loss and gradients are exactly 0.

Labels that are no class are refused (``check_labels``), and so are parameters and states that do not have exactly the
names and shapes of the net (``vgg.core.params.check_params``, ``check_state``), by a ``VGGError`` that names the label
or the array. A refusal changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from ..core.blocks import Block
from ..core.errors import mismatch
from ..core.layers import STATISTICS
from ..core.params import check_arrays, shapes
from ..core.recipe import Recipe
from ..core.spec import Spec

Array = NDArray[Any]
Arrays = dict[str, Array]

FUNCTIONS = ("vgg_block", "build", "load", "dump", "forward", "trace", "loss_and_grads", "learner", "facts")
"""Every function that a backend has, in the order of the four siblings."""

NEEDED = {"loss_and_grads": "gradients", "learner": "training"}
"""The level from which on a backend must have that function; it must always have the others."""

FACTS = ("framework", "versions", "devices", "flags")
"""What ``facts`` must say."""

VELOCITY = "velocity/"
"""In a learner's state, the prefix of a parameter's momentum buffer; it holds gradients, as torch's and optax's do."""


LEVELS = ("inference", "gradients", "training")
"""What a backend may claim by ``LEVEL``, each with all before it: ``build``, ``load``, ``dump``, and ``forward`` and
``trace`` in eval mode; train mode and ``loss_and_grads``; ``learner``.
"""

DTYPES = ("float64", "float32")
"""The dtypes of models that a backend may claim."""

DEVICES = ("cpu", "gpu")
"""Where ``build`` can put a model."""

LEVEL = "training"
"""The level of a backend whose module claims none."""

PRECISIONS = {"cpu": ("float64", "float32"), "gpu": ("float64", "float32")}
"""What a learner can do where its module says nothing."""


class Learner(Protocol):
    """A compiled training step and evaluation, and its whole state."""

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> SupportsFloat:
        """Train on one batch; the loss before the step, which ``float()`` may wait for. uint8 images are
        scaled, normalised and resized inside; floating ones are taken as they are, whatever the recipe's mean and
        standard deviation. ``masks``, by the name of the
        dropout layer, are what it multiplies by, in place of what the framework would draw.
        """
        ...

    def evaluate(self, x: Array) -> Array:
        """Logits (N, classes) in eval mode."""
        ...

    def state(self) -> Arrays:
        """Canonical parameters, ``velocity/`` + name for each trained one, and ``step``, the number of steps taken.

        Without momentum a velocity is of no consequence and may hold anything.

        The masks of step ``n`` depend on the recipe's seed and ``n`` alone, so this is all there is.
        """
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from what ``state`` gave, here or in another process, bit for bit on a CPU."""
        ...


class Backend(Protocol):
    """A module that turns a spec into a framework's own model and moves numbers across the seam.

    Arrays are their owners'. Whatever is returned is a copy that the caller may write into. Arguments are read before a
    function returns, whatever their layout in memory; they stay as they are, and nothing of theirs is kept. Two models
    or learners share nothing and may be of different dtypes; any thread may use them, one at a time. No result depends
    on a random generator that the process shares, and those of Python and NumPy are not moved. What is refused leaves
    everything as it was. ``vgg.conformance.promises`` judges it.
    """

    DECLARED: Mapping[str, str]
    """What stock layers cannot make equal; other keys than these are refused.


    Of batch norm, ``running_var``: ``population`` or ``unbiased``; ``momentum`` and ``epsilon``: ``float32`` where a
    float64 layer rounds it to that. ``dropout``: ``float32`` where a float64 layer rounds 1 / (1 - rate) to that.
    ``denormals``: ``flushed`` where numbers below the smallest normal one become 0, in float64 or in float32.
    ``nan``: ``swallowed`` where a ReLU or a max-pool makes a number of it.
    """

    LEVEL: str
    """One of ``LEVELS``; without it, ``training``. Functions beyond it may be left out; a worker never calls them."""

    DTYPES: tuple[str, ...]
    """Those of ``vgg.backends.DTYPES`` in which ``build`` makes models; without it, all. A worker refuses others."""

    PRECISIONS: Mapping[str, tuple[str, ...]]
    """The recipe's precisions that a learner can do, by device. A worker refuses every other one."""

    REPLICAS: Mapping[str, bool]
    """Left out by a backend that trains on one device. ``batch_norm``: whether its statistics are the global batch's.

    With it a learner trains on ``vgg.core.replicas.group()``: ``step`` gets the global batch, each replica takes its
    share, loss and gradients are the global batch's means. In several processes everyone does every job.
    """

    def setup(self) -> None:
        """Throw the switches of the whole process, as a worker does before anything else.

        It may be left out. No other function throws any: neither importing a backend nor building, loading, dumping and
        evaluating a model leaves a switch, a policy, a variable or a generator of the process changed.
        """
        ...

    def vgg_block(
        self, block: Block, channels: int, batch_norm: bool = False, dtype: str = "float32", name: str = "block"
    ) -> Any:
        """One block of that framework's stock layers, on ``channels`` input channels."""
        ...

    def build(self, spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
        """The native model, with parameters of that dtype (float32, float64) on that device (cpu, gpu).

        Before ``load`` it holds ``vgg.init(spec)``, the same values in every framework.
        """
        ...

    def load(self, model: Any, params: Mapping[str, Array]) -> Any:
        """The model holding these canonical parameters, copied and rounded to its dtype; ``VGGError`` unless they have
        exactly the names and shapes of its spec.
        """
        ...

    def dump(self, model: Any) -> Arrays:
        """``{canonical name: array}``."""
        ...

    def forward(self, model: Any, x: Array, *, train: bool = False) -> Array:
        """Logits (N, classes)."""
        ...

    def trace(self, model: Any, x: Array, *, train: bool = False) -> Arrays:
        """``{layer name: activation}`` in the layer table's names and NCHW, logits last."""
        ...

    def loss_and_grads(self, model: Any, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
        """Mean cross-entropy and ``{canonical name: gradient}``."""
        ...

    def learner(self, model: Any, recipe: Recipe) -> Learner:
        """A training step for this model in the recipe's precision; the model is the learner's from then on.

        ``dump``, ``forward``, ``trace`` and ``loss_and_grads`` of that model speak of the learner's parameters of now,
        and from what ``load`` puts into it the learner goes on, with its velocities and steps. Of the recipe a learner
        heeds ``momentum``, ``weight_decay``, ``seed``, ``mean``, ``std`` and ``precision``; the rest, ``lr`` and its
        drops, crops and flips among it, is for those who feed it.
        The model has parameters of ``recipe.dtype``: float64 for float64, float32 for all other precisions. A worker
        refuses every other combination.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """``framework``, ``versions``, ``devices`` by name, ``gpus`` (their number), ``flags`` that change numbers."""
        ...


def check_build(dtype: str, device: str) -> None:
    """Raise ``VGGError`` unless ``build`` knows this dtype and this device."""
    for what, value, known in (("dtype", dtype, DTYPES), ("device", device, DEVICES)):
        if value not in known:
            raise mismatch(what, repr(value), " or ".join(known))


def check_labels(y: Array, classes: int) -> None:
    """Raise ``VGGError`` unless ``y`` is (N,) integers from 0 to ``classes`` - 1. Frameworks count or skip others."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < classes)).all():
        raise mismatch("labels", labels.tolist(), f"{labels.size} integers from 0 to {classes - 1}")


def check_images(x: Array, spec: Spec) -> None:
    """Raise ``VGGError`` unless ``x`` is (N, C, H, W) images for ``spec``, floats, or uint8 of any H and W. A net that
    ends in a global pool would take others too.
    """
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise mismatch("images", x.dtype, "float32 or float64, or uint8 pixels")
    channels, *sides = spec.input_shape
    kind = "(N, {}, H, W)" if x.dtype == np.uint8 else f"(N, {{}}, {sides[0]}, {sides[1]})"
    if x.ndim != 4 or x.shape[1] != channels or not (x.dtype == np.uint8 or list(x.shape[2:]) == sides):
        raise mismatch("images", x.shape, kind.format(channels))


def check_batch(x: Array, y: Array, spec: Spec) -> None:
    """Raise ``VGGError`` unless ``x`` is images for ``spec``, see ``check_images``, and ``y`` (N,) labels. What a
    framework refuses by itself it may have half done: batch norm's statistics have moved by then.
    """
    check_images(x, spec)
    check_labels(y, spec.classes)
    if len(y) != len(x):
        raise mismatch("labels", len(y), f"{len(x)}, one per image")


def check_state(state: Mapping[str, Array], spec: Spec) -> None:
    """Raise ``VGGError`` unless ``state`` has exactly what a learner of ``spec`` has: its parameters, ``velocity/`` +
    name for each trained one, and ``step``.
    """
    params = shapes(spec)
    velocity = {VELOCITY + name: shape for name, shape in params.items() if not name.endswith(STATISTICS)}
    check_arrays(state, {**params, **velocity, "step": ()}, "state")
