"""Numbers of a JAX model: activations, loss and gradients, as NumPy arrays under canonical names."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Sharding, SingleDeviceSharding

from ...core.layouts import activation_from_hwc, from_hwc, to_hwc
from ...core.spec import Spec
from .. import Array, Arrays, check_batch, check_floats
from ..bookkeeping import SLOTS

MATMUL = "float32"  # float32 means float32


@dataclass(eq=False)
class Model:
    """A Flax module and its variables: ``module, variables = model`` gives what they are now.

    A float64 one needs ``with jax.enable_x64():`` around calls of ``module.apply``, since JAX has float64 switched off;
    ``load``, ``forward`` and their like see to that themselves.
    """

    module: Any
    variables: Any

    def __iter__(self) -> Iterator[Any]:
        return iter((self.module, self.variables))

    @property
    def spec(self) -> Spec:
        """The spec that the module was built from."""
        return self.module.spec

    @property
    def sharding(self) -> Sharding:
        """The place of the variables."""
        return jax.tree.leaves(self.variables)[0].sharding

    def __getstate__(self) -> Any:
        return self.module, jax.tree.map(np.asarray, self.variables)

    def __setstate__(self, state: Any) -> None:
        """Put the variables on JAX's default device, with float64 enabled if they need it."""
        self.module, variables = state
        with numerics(self.module.dtype):
            self.variables = jax.device_put(variables)


def forward(model: Model, x: Array, *, train: bool = False) -> Array:
    """Return the logits (N, classes) of images (N, C, H, W)."""
    check_floats(x, model.spec)
    with numerics(model.module.dtype):
        logits, _ = _forward(*model, _nhwc(model, x), key(0), train)
        return np.array(logits)


def trace(model: Model, x: Array, *, train: bool = False) -> Arrays:
    """Return the output of every layer by layer name, as NCHW; the logits are the last."""
    check_floats(x, model.spec)
    with numerics(model.module.dtype):
        outputs = _traced(*model, _nhwc(model, x), key(0), train)
    return {name: activation_from_hwc(model.spec, name, np.asarray(out)) for name, out in outputs.items()}


def loss_and_grads(model: Model, x: Array, y: Array, *, train: bool = False) -> tuple[float, Arrays]:
    """Return the mean cross-entropy of images (N, C, H, W) and labels (N,), and the gradient of every parameter.

    Raises ``VGGError`` when images or labels do not fit the network.
    """
    check_floats(x, model.spec)
    check_batch(x, y, model.spec)
    with numerics(model.module.dtype):
        (loss, _), grads = _gradient(*model, _nhwc(model, x), with_order(y), key(0), train)
    return float(loss), canonical(model.spec, {"params": grads})


def facts() -> dict[str, Any]:
    """Return versions, devices, and options that change numbers."""
    return {
        "framework": f"jax {jax.__version__}, flax {flax.__version__}",
        "versions": {m.__name__: m.__version__ for m in (jax, flax, optax, np)},
        "devices": [d.device_kind for d in jax.devices()],
        "gpus": gpus(),
        "flags": {
            "default_matmul_precision": MATMUL,
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
        },
    }


def gpus() -> int:
    """Return the number of GPUs that JAX sees."""
    return sum(device.platform == "gpu" for device in jax.devices())


def with_order(array: Array, dtype: Any = None) -> Array:
    """Return a contiguous copy in the byte order of this machine, converted to ``dtype`` unless that is None."""
    return np.array(array, dtype or array.dtype.newbyteorder("="), order="C")


@contextmanager
def numerics(dtype: str, matmul: str = MATMUL) -> Iterator[None]:
    """Set, in this thread and for this block, what JAX keeps for a whole process: float64 exists where ``dtype`` is it,
    and products are as precise as ``matmul`` says.
    """
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(matmul):
        yield


def exact(dtype: str) -> dict[str, Any]:
    """Return the dtypes for Flax's layers.

    They compute in ``dtype``; their parameters are float64 if ``dtype`` is, otherwise float32.
    """
    return {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype("float64" if dtype == "float64" else "float32")}


def shown(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """Return ``x``, which is no module's output, recorded for all who make ``intermediates`` mutable, as ``trace``
    does.
    """
    module.sow("intermediates", name, x)
    return x


def key(seed: Any) -> jax.Array:
    """Return a key of XLA's own generator. JAX's default one takes a second more to compile for each draw on a CPU."""
    return jax.random.key(seed, impl="rbg")


def blank(module: Any, device: str) -> Any:
    """Return variables without values: the shapes that Flax infers, and the device.

    ``module.init`` would compile for seconds.
    """
    (channels, *sides), where = module.spec.input_shape, SingleDeviceSharding(jax.local_devices(backend=device)[0])
    with numerics(module.dtype):
        images = jax.ShapeDtypeStruct((1, *sides, channels), module.dtype)
        shapes = _initial.eval_shape(module, images)
        # Flax makes running statistics float32 whatever param_dtype says.
        wide = exact(module.dtype)["param_dtype"]
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, wide, sharding=where), shapes)


def filled(spec: Spec, variables: Any, arrays: Mapping[str, Array]) -> Any:
    """Return variables like ``variables``, in the same place, with copies of canonical arrays.

    On a CPU ``device_put`` may take over the memory that it gets.
    """

    def fill(path: Any, old: Any) -> jax.Array:
        native = to_hwc(spec, _name(path), arrays[_name(path)])
        with numerics(old.dtype.name):
            return jax.device_put(with_order(native, old.dtype), old.sharding)

    return jax.tree_util.tree_map_with_path(fill, variables)


def canonical(spec: Spec, variables: Any) -> Arrays:
    """Return copies of the arrays in Flax collections, under canonical names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(variables)
    return {_name(path): from_hwc(spec, _name(path), np.asarray(leaf)) for path, leaf in leaves}


def differentiated(
    module: Any,
    variables: Any,
    x: jax.Array,
    y: jax.Array,
    dropout: jax.Array,
    train: bool,
    scale: float = 1.0,
    real: Any = None,
) -> Any:
    """Return ((loss, moved running statistics), gradients), over the examples that are ``real``.

    In the backward pass the gradients are ``scale`` times as large.
    """

    def scaled(params: Any) -> tuple[jax.Array, Any]:
        logits, moved = _apply(module, {**variables, "params": params}, x, dropout, train)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(where=real)
        return scale * loss, (loss, moved)

    grads, aside = jax.grad(scaled, has_aux=True)(variables["params"])
    return aside, jax.tree.map(lambda g: g / scale, grads)


def hasty_options() -> dict[str, Any]:
    """Return XLA's options for compiling for a CPU in a fraction of the time: LLVM's level 0, each program whole, and
    no fusion emitters.
    """
    dated = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
    return {"xla_backend_optimization_level": 0, **(dated if jax.__version_info__ < (0, 11) else {})}


def _apply(module: Any, variables: Any, x: jax.Array, dropout: jax.Array, train: bool) -> tuple[jax.Array, Any]:
    """Return the logits and the moved running statistics."""
    return module.apply(variables, x, train, rngs={"dropout": dropout}, mutable=["batch_stats"])


def _captured(module: Any, variables: Any, x: jax.Array, dropout: jax.Array, train: bool) -> OrderedDict[str, Any]:
    """Return the output of every layer in the order of computation, which a plain dict loses under ``jit``."""
    wanted = {"mutable": ["intermediates", "batch_stats"], "capture_intermediates": _is_layer}
    _, state = module.apply(variables, x, train, rngs={"dropout": dropout}, **wanted)
    return OrderedDict(_outputs(state["intermediates"]))


def _is_layer(module: nn.Module, _: str) -> bool:
    return isinstance(module, (nn.Conv, nn.BatchNorm, nn.Dense, nn.Dropout))


def _outputs(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (layer name, output) for everything captured, in the order of computation."""
    for name, value in state.items():
        if name == "__call__":
            yield prefix, value[0]
        elif isinstance(value, Mapping):
            yield from _outputs(value, f"{prefix}.{name}".lstrip("."))
        else:
            yield f"{prefix}.{name}".lstrip("."), value[0]


def _hastily(function: Callable[..., Any], *static: int) -> Callable[..., Any]:
    """Return ``function`` compiled; on a CPU it is compiled hastily, because it is called only a few times per net."""
    hasty = jax.jit(function, static_argnums=static, compiler_options=hasty_options())
    steady = jax.jit(function, static_argnums=static)

    def call(module: Any, variables: Any, x: jax.Array, *given: Any) -> Any:
        on_cpu = all(device.platform == "cpu" for device in x.devices())
        return (hasty if on_cpu else steady)(module, variables, x, *given)

    return call


_forward, _traced, _gradient = _hastily(_apply, 0, 4), _hastily(_captured, 0, 4), _hastily(differentiated, 0, 5)
_initial = jax.jit(lambda module, x: module.init(jax.random.key(0), x), static_argnums=0)
"""Under ``jit``, since it keeps the shapes that it has found for a module."""


def _name(path: Any) -> str:
    """Return the canonical name of a path: (collection, 'block1', 'conv1', 'kernel') becomes 'block1.conv1.weight'."""
    *layer, slot = (part.key for part in path[1:])
    return ".".join((*layer, SLOTS.get(slot, slot)))


def _nhwc(model: Model, x: Array) -> jax.Array:
    return jax.device_put(np.transpose(x, (0, 2, 3, 1)).astype(model.module.dtype), model.sharding)
