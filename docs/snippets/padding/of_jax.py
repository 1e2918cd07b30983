import jax
import jax.numpy as jnp
from flax import linen as nn

x = jnp.array([[[1.0], [2], [3], [4]]])
ones = {"kernel_init": nn.initializers.ones, "use_bias": False}
conv = nn.Conv(1, (3,), strides=2, padding="SAME", **ones)
y, _ = conv.init_with_output(jax.random.key(0), x)
print("sums of three, stride 2:", y.flatten().tolist())
y = nn.max_pool(jnp.ones((1, 5, 1)), (2,), (2,), padding="SAME")
print("pool of 5 values gives", y.shape[1])
