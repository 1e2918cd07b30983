"""What Flax 0.12 on JAX 0.10 does otherwise than one would think; docs/divergences.md."""

import jax

jax.config.update("jax_enable_x64", True)  # before anything is made

import jax.numpy as jnp  # noqa: E402
from flax import linen as nn  # noqa: E402


def running_statistics() -> None:
    """The dtype of what batch norm keeps in a float64 network."""
    layer = nn.BatchNorm(use_running_average=True, dtype=jnp.float64, param_dtype=jnp.float64)
    made = layer.init(jax.random.key(0), jnp.ones((2, 3), jnp.float64))
    kept = jax.tree.map(lambda a: a.dtype.name, made)
    print(f"batch norm in float64: scale {kept['params']['scale']}, mean {kept['batch_stats']['mean']}, wanted float64")


if __name__ == "__main__":
    running_statistics()
