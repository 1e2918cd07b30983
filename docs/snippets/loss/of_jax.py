import jax.numpy as jnp
import optax

logits, labels = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([0, 1])
each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
print("of logits:", *(f"{loss:.4f}" for loss in each))
print(f"their mean: {each.mean():.4f}")
