import jax
import jax.numpy as jnp
from flax import linen as nn


def pooled(x):
    return nn.max_pool(x, (2, 2), (2, 2)).sum()


print(jax.grad(pooled)(jnp.ones((1, 2, 2, 1))).flatten().tolist())
print(jax.grad(lambda x: x.max())(jnp.ones(4)).tolist(), "by max()")
