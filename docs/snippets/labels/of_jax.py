import jax.numpy as jnp
import optax

logits = jnp.zeros((1, 3))
for label in (jnp.array([1]), jnp.array([1.0]), jnp.array([7])):
    try:
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        print(label.dtype, label[0], f"{loss[0]:.4f}")
    except (TypeError, AssertionError) as error:
        print(label.dtype, label[0], type(error).__name__)
