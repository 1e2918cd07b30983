import jax
import jax.numpy as jnp
from flax import linen as nn

x = jnp.array([[0.0], [4.0]])  # mean 2; variance 4 by n, 8 by n - 1
layer = nn.BatchNorm(use_running_average=False)
_, state = layer.init_with_output(jax.random.key(0), x)
_, state = layer.apply(state, x, mutable=["batch_stats"])
mean, var = state["batch_stats"]["mean"], state["batch_stats"]["var"]
print(f"momentum {layer.momentum}, epsilon {layer.epsilon}")
print(f"mean {mean[0]:.2f}, var {var[0]:.2f}")
