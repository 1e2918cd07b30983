"""The network vgg11_narrow in Flax, for images (N, 224, 224, 1)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

# (number of convolutions, channels) per block
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (4096, 4096)
initial = nn.initializers.xavier_uniform()  # biases are zero


class VGGBlock(nn.Module):
    num_convs: int
    channels: int

    @nn.compact
    def __call__(self, x):
        for i in range(1, self.num_convs + 1):
            conv = nn.Conv(
                self.channels, (3, 3), padding=1, kernel_init=initial, name=f"conv{i}"
            )
            x = nn.relu(conv(x))
        return nn.max_pool(x, (2, 2), strides=(2, 2))


class VGG(nn.Module):
    arch: tuple

    @nn.compact
    def __call__(self, x, train=False):
        for i, (num_convs, channels) in enumerate(self.arch, 1):
            x = VGGBlock(num_convs, channels, name=f"block{i}")(x)
        # In the order H,W,C; torch and MXNet flatten in the order C,H,W.
        x = x.reshape((x.shape[0], -1))
        for i, units in enumerate(hidden, 1):
            x = nn.relu(nn.Dense(units, kernel_init=initial, name=f"fc{i}")(x))
            dropout = nn.Dropout(0.5, name=f"fc{i}.dropout")
            x = dropout(x, deterministic=not train)
        return nn.Dense(10, kernel_init=initial, name="fc3")(x)


model = VGG(arch)


if __name__ == "__main__":
    x = jnp.zeros((1, 224, 224, 1))
    wide = {"width": 120}  # room for whole shapes
    print(model.tabulate(jax.random.key(0), x, console_kwargs=wide))
