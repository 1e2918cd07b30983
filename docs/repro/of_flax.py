"""What Flax 0.12 and JAX 0.10 on a CPU do otherwise than one would think; docs/divergences.md."""

import os

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)  # before anything is made

import jax.numpy as jnp  # noqa: E402
from flax import linen as nn  # noqa: E402


def running_statistics() -> None:
    """The dtype of what batch norm keeps in a float64 network."""
    layer = nn.BatchNorm(use_running_average=True, dtype=jnp.float64, param_dtype=jnp.float64)
    made = layer.init(jax.random.key(0), jnp.ones((2, 3), jnp.float64))
    kept = jax.tree.map(lambda a: a.dtype.name, made)
    print(f"batch norm in float64: scale {kept['params']['scale']}, mean {kept['batch_stats']['mean']}, wanted float64")


def sums() -> None:
    """A matrix times each of 16,385 rows, then the sum of squares: jax-ml/jax#39103."""
    rows = np.arange(3 * 16385.0).reshape(-1, 3)
    got = jax.jit(jax.vmap(lambda row: ((jnp.eye(3) @ row) ** 2).sum()))(rows)
    verdict = "right" if np.allclose(got, (rows**2).sum(axis=1)) else "wrong"
    print(f"sums of squares, XLA_FLAGS={os.environ.get('XLA_FLAGS', '')}: {verdict}, wanted right")


def denormals() -> None:
    """Numbers below the smallest normal one."""
    print(f"denormals in float64: 2 * 5e-310 = {float(jax.jit(lambda x: 2 * x)(5e-310))}, wanted 1e-309")


def switch_of_the_process() -> None:
    """A model in float64, and what the process does after it."""
    for switch in (True, False):
        jax.config.update("jax_enable_x64", switch)
        print(f"x64 {'on' if switch else 'off'}: float64 becomes {jnp.asarray(np.ones(1)).dtype}")
    jax.config.update("jax_enable_x64", True)


if __name__ == "__main__":
    running_statistics()
    sums()
    denormals()
    switch_of_the_process()
