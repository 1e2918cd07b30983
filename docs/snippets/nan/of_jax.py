import jax.numpy as jnp
from flax import linen as nn

x = jnp.full((1, 2, 2, 1), jnp.nan)
pooled = nn.max_pool(x, (2, 2), (2, 2))
print(f"ReLU {nn.relu(x).max():.4g}, max-pool {pooled.max():.4g}")
