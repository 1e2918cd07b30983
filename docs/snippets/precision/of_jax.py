import jax
import jax.numpy as jnp
import numpy as np

x = np.ones((1, 4))  # NumPy's own type is float64
print("images:", jnp.asarray(x).dtype)
with jax.enable_x64(True):
    print("images under enable_x64:", jnp.asarray(x).dtype)
