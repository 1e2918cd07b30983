import jax.numpy as jnp
import optax

w = jnp.zeros(1)
optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=1.0, momentum=0.9)
state = optimizer.init(w)
for lr in (1.0, 1.0, 0.1):  # the gradient is always 1
    state.hyperparams["learning_rate"] = jnp.asarray(lr)
    update, state = optimizer.update(jnp.ones(1), state)
    w = optax.apply_updates(w, update)
    print(f"learning rate {lr}: w = {w[0]:.3f}")
