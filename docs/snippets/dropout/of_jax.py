import jax
import jax.numpy as jnp
from flax import linen as nn

layer, x, key = nn.Dropout(0.5), jnp.ones(1000), jax.random.key(0)
try:
    layer.apply({}, x)
except ValueError as error:
    print("as called:", type(error).__name__)
y = layer.apply({}, x, deterministic=True)
print("deterministic: drops", bool((y == 0).any()))
y = layer.apply({}, x, deterministic=False, rngs={"dropout": key})
print("not deterministic: drops", bool((y == 0).any()))
