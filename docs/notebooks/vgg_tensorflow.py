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
# # VGG in TensorFlow
#
# A VGG is a list of blocks: some 3x3 convolutions with ReLU, then a 2x2 max-pool. Three dense layers follow. This notebook builds one with TensorFlow alone, trains it, and proves at the end that it is the same network as in three other frameworks.
#
# The first cell installs what is missing.

# %%
import importlib.util
import subprocess
import sys

for package in ("tensorflow", "numpy"):
    if not importlib.util.find_spec(package):
        subprocess.run([sys.executable, "-m", "pip", "install", package], check=True)

# %%
import keras
import numpy as np
import tensorflow as tf
from keras import layers

# %% [markdown]
# ## A block
#
# How many convolutions, and how many channels: these two numbers describe a block.


# %%
def vgg_block(name, num_convs, channels):
    block = []
    for i in range(1, num_convs + 1):
        block.append(layers.Conv2D(channels, 3, padding="same", name=f"{name}.conv{i}"))
        block.append(layers.ReLU(name=f"{name}.relu{i}"))
    block.append(layers.MaxPooling2D(2, 2, name=f"{name}.pool"))
    return block


# %% [markdown]
# ## The network
#
# The list `arch` is all that tells a VGG-11 from a VGG-19. This one is VGG-11 with a quarter of its channels and small dense layers, for images of 64x96 with one channel.

# %%
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (256, 256)


def vgg(arch):
    stack = [layers.Input((64, 96, 1))]
    for i, (num_convs, channels) in enumerate(arch, 1):
        stack += vgg_block(f"block{i}", num_convs, channels)
    # In the order H,W,C; torch and MXNet flatten in the order C,H,W.
    stack.append(layers.Flatten(name="flatten"))
    for i, units in enumerate(hidden, 1):
        stack.append(layers.Dense(units, name=f"fc{i}"))
        stack.append(layers.ReLU(name=f"fc{i}.relu"))
        stack.append(layers.Dropout(0.5, name=f"fc{i}.dropout"))
    stack.append(layers.Dense(10, name="fc3"))
    return keras.Sequential(stack)


keras.utils.set_random_seed(0)
model = vgg(arch)
for layer in model.layers:
    if layer.weights:  # He's rule in place of Keras' own
        kernel, bias = layer.weights
        kernel.assign(keras.initializers.HeUniform(seed=0)(kernel.shape))

# %% [markdown]
# ## Shapes
#
# Each block halves height and width: 64x96, 32x48, 16x24, 8x12, 4x6, 2x3. Height and width differ on purpose. In a square image, and even more in a last map of 1x1, some mistakes cannot be seen.

# %%
for layer in model.layers:
    print(f"{layer.name:16} {layer.output.shape}")
print(f"{model.count_params():,} parameters")

# %% [markdown]
# ## Can it learn?
#
# A quick test of any network: it should learn a few images by heart, even if they are noise and dropout makes it harder. The loss of guessing among ten classes is 2.3.

# %%
random = np.random.default_rng(0)
images = random.standard_normal((8, 1, 64, 96), dtype="float32")
labels = random.integers(0, 10, 8)

x, y = tf.constant(images.transpose(0, 2, 3, 1)), tf.constant(labels)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(0.001, momentum=0.9)
for step in range(101):
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))  # dropout is on
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    if step % 20 == 0:
        print(f"step {step}: loss {float(loss):.3f}")

# %% [markdown]
# ## Is it the same network?
#
# From here on vgg takes part. Install it from a checkout of the project, or let Python find it there. Its oracle is the network in float64 NumPy, which all four frameworks are compared with.
#
# The oracle wants canonical parameters: the names of the layer table, convolutions as (out, in, height, width), dense layers as (out, in). Keras stores both the other way round, and its flatten has another order, so the inputs of `fc1` are permuted too.


# %%
def to_canonical(name, array):
    """Return a kernel as (out, in, ...), and the inputs of fc1 in C, H, W order."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if name == "fc1.weight":
        map_shape = (2, 3, 128)  # height, width, channels of the last map
        array = array.reshape(*map_shape, -1).transpose(2, 0, 1, 3).reshape(array.shape)
    return array.T


with tf.GradientTape() as tape:
    output = model(x)
    loss = loss_of(y, output)
gradients = tape.gradient(loss, model.trainable_variables)
logits = output.numpy()
canonical, grads = {}, {}
for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
    *_, layer, part = variable.path.split("/")
    if part == "bias":
        canonical[f"{layer}.bias"] = variable.numpy()
        grads[f"{layer}.bias"] = gradient.numpy()
    else:
        name = f"{layer}.weight"
        canonical[name] = to_canonical(name, variable.numpy())
        grads[name] = to_canonical(name, gradient.numpy())

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
