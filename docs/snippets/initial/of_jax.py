import jax
import jax.numpy as jnp
from flax import linen as nn

layer = nn.Conv(256, (3, 3))  # 576 terms in every sum
made = layer.init(jax.random.key(0), jnp.ones((1, 8, 8, 64)))["params"]
weight, bias = made["kernel"], made["bias"]
print(f"largest weight {jnp.abs(weight).max():.3f}, std {weight.std():.3f}")
print(f"largest bias {jnp.abs(bias).max():.3f}")
