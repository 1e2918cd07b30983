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
# # VGG in MXNet
#
# A VGG is a list of blocks: some 3x3 convolutions with ReLU, then a 2x2 max-pool. Three dense layers follow. This notebook builds one with MXNet alone, trains it, and proves at the end that it is the same network as in three other frameworks.
#
# The first cell installs what is missing.

# %%
import importlib.util
import subprocess
import sys

for package in ("mxnet", "numpy"):
    if not importlib.util.find_spec(package):
        subprocess.run([sys.executable, "-m", "pip", "install", package], check=True)

# %%
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

# %% [markdown]
# ## A block
#
# How many convolutions, and how many channels: these two numbers describe a block.


# %%
def vgg_block(name, num_convs, channels):
    block = nn.HybridSequential(prefix=f"{name}_")
    with block.name_scope():
        for i in range(1, num_convs + 1):
            block.add(nn.Conv2D(channels, 3, padding=1, prefix=f"conv{i}_"))
            block.add(nn.Activation("relu", prefix=f"relu{i}_"))
        block.add(nn.MaxPool2D(2, 2, prefix="pool_"))
    return block


# %% [markdown]
# ## The network
#
# The list `arch` is all that tells a VGG-11 from a VGG-19. This one is VGG-11 with a quarter of its channels and small dense layers, for images of 64x96 with one channel.

# %%
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (256, 256)


def vgg(arch):
    net = nn.HybridSequential(prefix="")
    for i, (num_convs, channels) in enumerate(arch, 1):
        net.add(vgg_block(f"block{i}", num_convs, channels))
    # In the order C,H,W; Keras and Flax flatten in the order H,W,C.
    net.add(nn.Flatten(prefix="flatten_"))
    for i, units in enumerate(hidden, 1):
        net.add(nn.Dense(units, prefix=f"fc{i}_"))
        net.add(nn.Activation("relu", prefix=f"fc{i}_relu_"))
        net.add(nn.Dropout(0.5, prefix=f"fc{i}_dropout_"))
    net.add(nn.Dense(10, prefix="fc3_"))
    return net


mx.random.seed(0)
net = vgg(arch)
net.initialize(mx.init.Xavier(factor_type="in", magnitude=6))  # He's uniform

# %% [markdown]
# ## Shapes
#
# Each block halves height and width: 64x96, 32x48, 16x24, 8x12, 4x6, 2x3. Height and width differ on purpose. In a square image, and even more in a last map of 1x1, some mistakes cannot be seen.

# %%
net.summary(mx.nd.zeros((1, 1, 64, 96)))

# %% [markdown]
# ## Can it learn?
#
# A quick test of any network: it should learn a few images by heart, even if they are noise and dropout makes it harder. The loss of guessing among ten classes is 2.3.

# %%
random = np.random.default_rng(0)
images = random.standard_normal((8, 1, 64, 96), dtype="float32")
labels = random.integers(0, 10, 8)

x, y = mx.nd.array(images), mx.nd.array(labels)
loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
settings = {"learning_rate": 0.001, "momentum": 0.9}
trainer = gluon.Trainer(net.collect_params(), "sgd", settings)
for step in range(101):
    with autograd.record():  # dropout is on
        loss = loss_of(net(x), y)
    loss.backward()
    trainer.step(len(images))  # divides by this: the loss is one number per image
    if step % 20 == 0:
        print(f"step {step}: loss {loss.mean().asscalar():.3f}")

# %% [markdown]
# ## Is it the same network?
#
# From here on vgg takes part. Install it from a checkout of the project, or let Python find it there. Its oracle is the network in float64 NumPy, which all four frameworks are compared with.
#
# The oracle wants canonical parameters: the names of the layer table, convolutions as (out, in, height, width), dense layers as (out, in). MXNet stores them like this already, under names with underscores.


# %%
def canonical_name(name):
    block, _, rest = name.partition("_")
    return f"{block}.{rest}".replace("_", ".")


with autograd.record(train_mode=True):  # MXNet's float32 pools want train mode
    features = x
    for layer in net:
        if not isinstance(layer, nn.Dropout):  # dropout is off: it is left out
            features = layer(features)
    loss = loss_of(features, y).mean()
loss.backward()
logits = features.asnumpy()
parameters = {canonical_name(n): p for n, p in net.collect_params().items()}
canonical = {name: p.data().asnumpy() for name, p in parameters.items()}
grads = {name: p.grad().asnumpy() for name, p in parameters.items()}

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
