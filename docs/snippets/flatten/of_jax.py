import jax.numpy as jnp

# One image with two channels: 1 to 4 in the first, 5 to 8 in the second.
image = jnp.arange(1, 9).reshape(1, 2, 2, 2).transpose(0, 2, 3, 1)
print(image.reshape(len(image), -1).tolist())
