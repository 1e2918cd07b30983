# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # VGG in JAX
#
# A VGG is a list of blocks: some 3x3 convolutions with ReLU, then a 2x2 max-pool. Three dense layers follow. This notebook builds one with JAX alone, trains it, and proves at the end that it is the same network as in three other frameworks.
#
# The first cell installs what is missing.

# %%
import importlib.util
import subprocess
import sys

for package in ("flax", "optax", "numpy"):
    if not importlib.util.find_spec(package):
        subprocess.run([sys.executable, "-m", "pip", "install", package], check=True)

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

initial = nn.initializers.he_uniform()

# %% [markdown]
# ## A block
#
# How many convolutions, and how many channels: these two numbers describe a block.


# %%
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


# %% [markdown]
# ## The network
#
# The list `arch` is all that tells a VGG-11 from a VGG-19. This one is VGG-11 with a quarter of its channels and small dense layers, for images of 64x96 with one channel.

# %%
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (256, 256)


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
variables = model.init(jax.random.key(0), jnp.zeros((1, 64, 96, 1)))

# %% [markdown]
# ## Shapes
#
# Each block halves height and width: 64x96, 32x48, 16x24, 8x12, 4x6, 2x3. Height and width differ on purpose. In a square image, and even more in a last map of 1x1, some mistakes cannot be seen.

# %%
count = sum(leaf.size for leaf in jax.tree.leaves(variables))
for name, layer in variables["params"].items():
    print(f"{name:8}", jax.tree.map(jnp.shape, layer))
print(f"{count:,} parameters")

# %% [markdown]
# ## Can it learn?
#
# A quick test of any network: it should learn a few images by heart, even if they are noise and dropout makes it harder. The loss of guessing among ten classes is 2.3.

# %%
random = np.random.default_rng(0)
images = random.standard_normal((8, 1, 64, 96), dtype="float32")
labels = random.integers(0, 10, 8)

x, y = jnp.asarray(images.transpose(0, 2, 3, 1)), jnp.asarray(labels)
optimizer = optax.sgd(0.001, momentum=0.9)
params = variables["params"]
state = optimizer.init(params)


def loss_of(params, train, key=None):
    rngs = {"dropout": key} if train else None
    output = model.apply({"params": params}, x, train, rngs=rngs)
    each = optax.softmax_cross_entropy_with_integer_labels(output, y)
    return each.mean(), output


@jax.jit
def train_step(params, state, key):
    loss, gradients = jax.value_and_grad(loss_of, has_aux=True)(params, True, key)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss[0]


for step in range(101):
    key = jax.random.fold_in(jax.random.key(1), step)
    params, state, loss = train_step(params, state, key)  # dropout is on
    if step % 20 == 0:
        print(f"step {step}: loss {loss:.3f}")

# %% [markdown]
# ## Is it the same network?
#
# From here on vgg takes part. Install it from a checkout of the project, or let Python find it there. Its oracle is the network in float64 NumPy, which all four frameworks are compared with.
#
# The oracle wants canonical parameters: the names of the layer table, convolutions as (out, in, height, width), dense layers as (out, in). Flax stores both the other way round, and its flatten has another order, so the inputs of `fc1` are permuted too.


# %%
def to_canonical(name, array):
    """Return a kernel as (out, in, ...), and the inputs of fc1 in C, H, W order."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if name == "fc1.weight":
        map_shape = (2, 3, 128)  # height, width, channels of the last map
        array = array.reshape(*map_shape, -1).transpose(2, 0, 1, 3).reshape(array.shape)
    return array.T


def by_name(tree):
    """Return {canonical name: array} of parameters or gradients."""
    arrays = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *layer, part = (key.key for key in path)
        name = ".".join([*layer, "weight" if part == "kernel" else part])
        array = np.asarray(leaf)
        arrays[name] = to_canonical(name, array) if part == "kernel" else array
    return arrays


gradients, output = jax.grad(loss_of, has_aux=True)(params, False)
logits = np.asarray(output)
canonical, grads = by_name(params), by_name(gradients)

# %% [markdown]
# The oracle computes every logit, the loss and every gradient from these parameters. `compare` gives the worst error, and the limit that follows from float32's rounding and from the lengths of the sums.

# %%
import vgg
from vgg.core import oracle
from vgg.core.comparator import compare, forward_limit, gradient_limit

spec = vgg.arch("vgg11_narrow", input_shape=(1, 64, 96), hidden=(256, 256))
wanted_loss, wanted_grads, tape = oracle.loss_and_grads(spec, canonical, images, labels)

limit = forward_limit(spec, "float32")
verdict = compare({"logits": logits}, {"logits": tape.logits}, limit=limit)
print("logits:   ", verdict, "ok" if verdict.ok else "not the same")
limit = gradient_limit(spec, "float32", len(images))
verdict = compare(grads, wanted_grads, limit=limit)
print("gradients:", verdict, "ok" if verdict.ok else "not the same")

# %% [markdown]
# Both are within their limits. So this network and the oracle are the same function with the same gradients, as far as float32 can tell. `vgg check` does this for many networks, in float64 too, and for fifty training steps.
