import jax
import jax.numpy as jnp
from flax import linen as nn

key = jax.random.key(0)
conv = nn.Conv(64, (5, 7)).init(key, jnp.ones((1, 32, 32, 3)))
dense = nn.Dense(10).init(key, jnp.ones((1, 100)))
print("convolution", conv["params"]["kernel"].shape)
print("dense", dense["params"]["kernel"].shape)
