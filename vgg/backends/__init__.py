"""The contract of a backend: one module with the functions below, in this order. At the seam everything is NumPy.

Images are NCHW (float32, float64, or uint8 pixels for a learner), labels int64 (N,), parameters and gradients go under
canonical names. ``forward``, ``trace`` and ``loss_and_grads`` leave the model as it was and give the same answer twice:
in train mode they draw dropout masks from a generator seeded afresh, so the mask in a trace is the mask behind the
gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, SupportsFloat

from numpy.typing import NDArray

from ..recipe import Recipe
from ..spec import Block, Spec

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

LEVEL = "training"
"""The level of a backend whose module claims none."""

PRECISIONS = {"cpu": ("float64", "float32"), "gpu": ("float64", "float32")}
"""What a learner can do where its module says nothing."""


class Learner(Protocol):
    """A compiled training step and evaluation, and its whole state."""

    def step(self, x: Array, y: Array, lr: float, masks: Mapping[str, Array] | None = None) -> SupportsFloat:
        """Train on one batch; the loss before the step, which ``float()`` may wait for. uint8 images are
        scaled, normalised and resized inside; floating ones are taken as they are. ``masks``, by the name of the
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
    """A module that turns a spec into a framework's own model and moves numbers across the seam."""

    DECLARED: Mapping[str, str]
    """What stock layers cannot make equal; other keys than these are refused.

    Of batch norm, ``running_var``: ``population`` or ``unbiased``; ``momentum`` and ``epsilon``: ``float32`` where a
    float64 layer rounds it to that. ``dropout``: ``float32`` where a float64 layer rounds 1 / (1 - rate) to that.
    """

    LEVEL: str
    """One of ``LEVELS``; without it, ``training``. Functions beyond it may be left out; a worker never calls them."""

    DTYPES: tuple[str, ...]
    """Those of ``vgg.backends.DTYPES`` in which ``build`` makes models; without it, all. A worker refuses others."""

    PRECISIONS: Mapping[str, tuple[str, ...]]
    """The recipe's precisions that a learner can do, by device. A worker refuses every other one."""

    REPLICAS: Mapping[str, bool]
    """Left out by a backend that trains on one device. ``batch_norm``: whether its statistics are the global batch's.

    With it a learner trains on ``vgg.replicas.group()``: ``step`` gets the global batch, each replica takes its share,
    loss and gradients are the global batch's means. In several processes everyone does every job.
    """

    def vgg_block(self, block: Block, *args: Any, **kwargs: Any) -> Any:
        """One block of that framework's stock layers."""
        ...

    def build(self, spec: Spec, *, dtype: str = "float32", device: str = "cpu") -> Any:
        """The native model, with parameters of that dtype (float32, float64) on that device (cpu, gpu)."""
        ...

    def load(self, model: Any, params: Mapping[str, Array]) -> Any:
        """The model holding these canonical parameters."""
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
        """A training step for this model in the recipe's precision; the model is the learner's from then on."""
        ...

    def facts(self) -> dict[str, Any]:
        """``framework``, ``versions``, ``devices`` by name, ``gpus`` (their number), ``flags`` that change numbers."""
        ...
