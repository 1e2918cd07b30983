"""The contract of a backend: a module with the functions below, in this order. Its arrays are NumPy arrays.

Images are (N, C, H, W), float32 or float64, and are used as they are. A learner's ``step`` and ``evaluate`` also take
uint8 pixels, because its recipe says how to scale them; ``forward``, ``trace`` and ``loss_and_grads`` refuse pixels
(``check_floats``). Labels are int64 (N,). Parameters and gradients are dictionaries with canonical names. ``forward``,
``trace`` and ``loss_and_grads`` do not change the model and give the same answer when they are called again: in train
mode they seed the generator of the dropout masks anew, so the mask in a trace is the mask of the gradients.

A NaN or an infinite value is never hidden, unless ``DECLARED`` says so. In eval mode a NaN in an image makes all logits
of that image NaN, and those of no other image. A NaN in a parameter makes everything NaN that depends on it. A loss
over any of these is NaN. An infinite pixel makes the logits of its image infinite or NaN. Which gradients are then NaN
is not promised, except for the last bias. Logits of any size have a finite loss: the largest is subtracted before
``exp``. With one class, loss and gradients are exactly 0.

A backend raises a ``VGGError`` that names the label or the array for labels that are not a class (``check_labels``),
for images that it does not take (``check_images``, ``check_floats``), and for parameters and states that do not have
exactly the names and shapes of the network (``vgg.core.params.check_params``, ``check_state``). It has then changed
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from ..core.blocks import Block
from ..core.errors import mismatch
from ..core.layers import STATISTICS
from ..core.masks import dropouts
from ..core.params import check_arrays, shapes
from ..core.recipe import Recipe
from ..core.spec import Spec

Array = NDArray[Any]
Arrays = dict[str, Array]
Step = Callable[[Array, Array], float]
"""A training step: it takes uint8 pixels (N, C, H, W) and labels (N,), and returns the loss before the step."""

FUNCTIONS = ("vgg_block", "build", "load", "dump", "forward", "trace", "loss_and_grads", "learner", "facts")
"""The functions of a backend, in the order in which the four backends of this package define them."""

NEEDED = {"loss_and_grads": "gradients", "learner": "training"}
"""Function -> the lowest level at which a backend must have it. A backend must always have the others."""

FACTS = ("framework", "versions", "devices", "flags")
"""The keys that the result of ``facts`` must have."""

VELOCITY = "velocity/"
"""The prefix of a momentum buffer's name in a learner's state. The buffer sums gradients, as torch's and optax's do."""

LEVELS = ("inference", "gradients", "training")
"""The levels that a backend may claim by ``LEVEL``. Each includes those before it.

``inference``: ``build``, ``load``, ``dump``, and ``forward`` and ``trace`` in eval mode. ``gradients``: train mode and
``loss_and_grads``. ``training``: ``learner``.
"""

DTYPES = ("float64", "float32")
"""The dtypes of models that a backend may claim."""

DEVICES = ("cpu", "gpu")
"""The devices on which ``build`` can put a model."""

LEVEL = "training"
"""The level of a backend whose module does not set ``LEVEL``."""

PRECISIONS = {"cpu": ("float64", "float32"), "gpu": ("float64", "float32")}
"""The precisions of a backend whose module does not set ``PRECISIONS``, by device."""


class Learner(Protocol):
    """A compiled training step, a compiled evaluation, and their complete state."""

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> SupportsFloat:
        """Train on one batch: images ``x`` (N, C, H, W) and labels ``y`` (N,). Return the loss before the step.

        ``float()`` of the loss may wait for the result. uint8 images are scaled, normalised and resized here; floating
        ones are used as they are, whatever the recipe's mean and standard deviation. ``masks`` maps the names of
        dropout layers to arrays (N, units): a layer multiplies by its array in place of a mask that the framework
        draws.

        Raises ``VGGError`` when images, labels or masks do not fit the network.
        """
        ...

    def evaluate(self, x: Array) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W) in eval mode.

        They may be uint8 pixels or floating, as in ``step``. Raises ``VGGError`` when they do not fit the network.
        """
        ...

    def state(self) -> Arrays:
        """Return the complete state.

        It holds the canonical parameters, ``velocity/`` + name for each trained one, and ``step``, the number of steps
        taken. Without momentum a velocity has no effect and may hold anything. The masks of step ``n`` depend only on
        the recipe's seed and on ``n``, so nothing else needs to be saved.
        """
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a result of ``state``, from this process or another; on a CPU, with the same bits.

        Raises ``VGGError`` when ``state`` is not that of a learner of this network.
        """
        ...


class Backend(Protocol):
    """A module that turns a spec into a model of its framework, and converts between its numbers and NumPy arrays.

    A result is a copy, into which the caller may write. Arguments may have any layout in memory; a function reads them
    before it returns, does not change them and keeps no reference to them. Two models or learners share nothing and may
    have different dtypes. Any thread may use them, one at a time. No result depends on a random generator that the
    process shares, and those of Python and NumPy are not advanced. A call that raises ``VGGError`` changes nothing.
    ``vgg.conformance.promises`` checks all this.
    """

    DECLARED: Mapping[str, str]
    """Differences that stock layers cannot remove. A worker refuses other keys than these.

    ``running_var``, of batch norm: ``population`` or ``unbiased``. ``momentum`` and ``epsilon``, of batch norm:
    ``float32`` if a float64 layer rounds them to float32. ``dropout``: ``float32`` if a float64 layer rounds
    1 / (1 - rate) to float32. ``denormals``: ``flushed`` if numbers below the smallest normal one become 0, in float64
    or in float32. ``nan``: ``swallowed`` if a ReLU or a max-pool turns NaN into a number.
    """

    LEVEL: str
    """One of ``LEVELS``, by default ``training``. The module may omit functions above it; a worker never calls them."""

    DTYPES: tuple[str, ...]
    """The dtypes of ``vgg.backends.DTYPES`` that ``build`` supports, by default all. A worker refuses the others."""

    PRECISIONS: Mapping[str, tuple[str, ...]]
    """Device -> the precisions of recipes that a learner supports there. A worker refuses the others."""

    REPLICAS: Mapping[str, bool]
    """Set by a backend that can train on several devices; a backend that uses one device omits it.

    ``batch_norm`` says whether batch norm's statistics are those of the global batch. A learner then trains on
    ``vgg.core.replicas.group()``: ``step`` gets the global batch, each replica takes its share, and the loss and the
    gradients are means over the global batch. If there are several processes, each does every job.
    """

    def setup(self) -> None:
        """Set the framework's global options for this process. A worker calls it before everything else.

        A module may omit it. Only this function changes global options: importing a backend and building, loading,
        dumping and evaluating a model leave the options, policies, variables and generators of the process as they
        were.
        """
        ...

    def vgg_block(
        self, block: Block, channels: int, batch_norm: bool = False, dtype: str = "float32", name: str = "block"
    ) -> Any:
        """Return one block made of the framework's stock layers, for ``channels`` input channels."""
        ...

    def build(self, spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
        """Return the framework's model of ``spec``, with parameters of this dtype on this device.

        ``dtype`` is float32 or float64, ``device`` cpu or gpu. Before ``load`` the model holds ``vgg.init(spec)``, the
        same values in every framework. Raises ``VGGError`` for another dtype or device.
        """
        ...

    def load(self, model: Any, params: Mapping[str, Array]) -> Any:
        """Return the model with copies of these canonical parameters, rounded to its dtype.

        Raises ``VGGError`` unless they have exactly the names and shapes of its spec.
        """
        ...

    def dump(self, model: Any) -> Arrays:
        """Return the model's parameters, ``{canonical name: array}``."""
        ...

    def forward(self, model: Any, x: Array, *, train: bool = False) -> Array:
        """Return the logits (N, classes) of images ``x`` (N, C, H, W)."""
        ...

    def trace(self, model: Any, x: Array, *, train: bool = False) -> Arrays:
        """Return ``{layer name: activation}`` with the names of the layer table, in NCHW; the logits are the last."""
        ...

    def loss_and_grads(self, model: Any, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
        """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and ``{canonical name: gradient}``.

        Raises ``VGGError`` when images or labels do not fit the network.
        """
        ...

    def learner(self, model: Any, recipe: Recipe) -> Learner:
        """Return a learner that trains this model in the recipe's precision. From then on it owns the model.

        ``dump``, ``forward``, ``trace`` and ``loss_and_grads`` of the model use the learner's current parameters. After
        ``load`` the learner continues from the loaded parameters, with its own velocities and number of steps. A
        learner uses ``momentum``, ``weight_decay``, ``seed``, ``mean``, ``std`` and ``precision`` of the recipe; its
        caller uses the rest, such as the learning rate and its drops, crops and flips. The parameters of the model must
        have ``recipe.dtype``: float64 for the precision float64, float32 for all others. A worker refuses other
        combinations.
        """
        ...

    def scripted(self, source: str, spec: Spec, *, dtype: str = "float32") -> tuple[Any, Step | None]:
        """Execute ``source``, a script that ``vgg code`` prints, with layers in ``dtype``.

        Return the script's model, for ``dump``, ``forward``, ``trace`` and ``loss_and_grads``, and its training step,
        or None if it does not train. A module may omit this function; without a template for ``vgg code`` it is not
        called. ``trace`` may then leave out layers without parameters.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Return facts for reports.

        ``framework`` is its name and version, ``versions`` those of its packages, ``devices`` the names of devices,
        ``gpus`` the number of GPUs, and ``flags`` the options that change numbers. A client refuses names that are not
        texts, numbers that are not finite, and what JSON cannot express.
        """
        ...


def check_build(dtype: str, device: str, gpus: Callable[[], int]) -> None:
    """Raise ``VGGError`` unless ``dtype`` is in ``DTYPES`` and ``device`` in ``DEVICES`` and there.

    ``gpus`` returns the number of GPUs that the framework sees.
    """
    for what, value, choices in (("dtype", dtype, DTYPES), ("device", device, DEVICES)):
        if value not in choices:
            raise mismatch(what, repr(value), " or ".join(choices))
    if device == "gpu" and not gpus():
        raise mismatch("device", "'gpu'", "'cpu', since the framework sees no GPU")


def check_labels(y: Array, classes: int) -> None:
    """Raise ``VGGError`` unless ``y`` is (N,) integers from 0 to ``classes`` - 1. Frameworks accept or skip others."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < classes)).all():
        raise mismatch("labels", labels.tolist(), f"{labels.size} integers from 0 to {classes - 1}")


def check_images(x: Array, spec: Spec) -> None:
    """Raise ``VGGError`` unless ``x`` is (N, C, H, W) images for ``spec``: floats, or uint8 pixels of any H and W.

    Only a learner takes both. The check is needed because a network with a global pool would accept images of other
    sizes, and because frameworks convert other numbers.
    """
    if _dtype(x) not in ("float32", "float64", "uint8"):
        raise mismatch("images", _dtype(x), "float32 or float64, or uint8 pixels")
    channels, *sides = spec.input_shape
    kind = "(N, {}, H, W)" if x.dtype == np.uint8 else f"(N, {{}}, {sides[0]}, {sides[1]})"
    if x.ndim != 4 or x.shape[1] != channels or not (x.dtype == np.uint8 or list(x.shape[2:]) == sides):
        raise mismatch("images", x.shape, kind.format(channels))


def check_floats(x: Array, spec: Spec) -> None:
    """Raise ``VGGError`` unless ``x`` is (N, C, H, W) images for ``spec`` of float32 or float64.

    ``forward``, ``trace`` and ``loss_and_grads`` take no others: without a recipe nobody knows how to scale pixels.
    """
    if _dtype(x) not in DTYPES:
        raise mismatch("images", _dtype(x), "float32 or float64", "give pixels to a learner")
    check_images(x, spec)


def _dtype(x: Any) -> str:
    """Return an array's dtype, which tells a byte order that is not this machine's, or the name of another type."""
    return str(x.dtype) if isinstance(x, np.ndarray) else type(x).__name__


def check_batch(x: Array, y: Array, spec: Spec, masks: Mapping[str, Array] | None = None) -> None:
    """Raise ``VGGError`` unless ``x`` is images for ``spec``, as in ``check_images``, and ``y`` is (N,) labels.

    If there are ``masks``, they must be as ``check_masks`` wants them. A framework's own error may come too late, when
    batch norm's statistics have already changed.
    """
    check_images(x, spec)
    check_labels(y, spec.classes)
    if len(y) != len(x):
        raise mismatch("labels", len(y), f"{len(x)}, one per image")
    check_masks(masks or {}, len(x), spec)


def check_masks(masks: Mapping[str, Array], count: int, spec: Spec) -> None:
    """Raise ``VGGError`` unless ``masks`` is empty or {dropout layer: (count, units)} of all such layers of ``spec``.

    A framework would broadcast a mask of one image or of one unit.
    """
    if masks:
        check_arrays(masks, {row.name: (count, *row.output_shape) for row in dropouts(spec)}, "masks")


def check_state(state: Mapping[str, Array], spec: Spec) -> None:
    """Raise ``VGGError`` unless ``state`` has exactly the names and shapes of the state of a learner of ``spec``.

    These are its parameters, ``velocity/`` + name for each trained one, and ``step``.
    """
    params = shapes(spec)
    velocity = {VELOCITY + name: shape for name, shape in params.items() if not name.endswith(STATISTICS)}
    check_arrays(state, {**params, **velocity, "step": ()}, "state")
