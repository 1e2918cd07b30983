"""Scripts that ``vgg code`` prints for Flax, executed for the suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from ...core.spec import Spec
from .. import Array, Step
from ..bookkeeping import executed
from .numbers import Model, numerics


@dataclass(frozen=True)
class Module:
    """A script's module, with what other functions ask of ``build``'s."""

    module: Any
    spec: Spec
    dtype: str

    def apply(self, variables: Any, x: jax.Array, train: bool = False, **options: Any) -> Any:
        """Call the module, which takes ``train`` only where it makes a difference."""
        modal = self.spec.batch_norm or (self.spec.head.dropout and self.spec.head.hidden)
        return self.module.apply(variables, x, **({"train": train} if modal else {}), **options)


def scripted(source: str, spec: Spec, *, dtype: str = "float32") -> tuple[Model, Step | None]:
    """Execute a script; return its model, and its training step if it has one; see ``vgg.backends``.

    Only stock layers show their outputs in a trace: no ReLU, LRN or pool.
    """
    with numerics(dtype):
        names = executed(source)
    # Committed to their device, as those of ``build`` are: XLA then gets the same program, and compiles it only once.
    variables = jax.device_put(names["variables"], SingleDeviceSharding(jax.devices()[0]))
    model = Model(Module(names["model"], spec, dtype), variables)
    if "train_step" not in names:
        return model, None
    state = names["create_state"](model.variables)
    key = [jax.random.key(0)] if spec.head.dropout and spec.head.hidden else []

    def step(x: Array, y: Array) -> float:
        nonlocal state
        state, loss = names["train_step"](state, np.moveaxis(x, 1, 3), y.astype(np.int32), *key)
        model.variables = {name: getattr(state, name) for name in model.variables}
        return float(loss)

    return model, step
