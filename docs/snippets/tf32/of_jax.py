import jax

print("precision:", jax.config.jax_default_matmul_precision)
