import jax
from flax import linen as nn

key = jax.random.key(0)
x = jax.random.normal(key, (4, 16, 16, 32))
for depth in range(1, 17):
    x, _ = nn.Conv(32, (3, 3)).init_with_output(jax.random.fold_in(key, depth), x)
    x = nn.relu(x)
    if depth in (1, 4, 8, 16):
        print(f"after {depth:2} layers: std {x.std():.1e}")
