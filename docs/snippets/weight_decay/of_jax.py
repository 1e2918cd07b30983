import jax.numpy as jnp
import optax

w = jnp.ones(1)
optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
state = optimizer.init(w)
for _ in range(3):  # the gradient of the loss is 0
    update, state = optimizer.update(jnp.zeros(1), state, w)
    w = optax.apply_updates(w, update)
print(f"w = {w[0]:.5f}")
