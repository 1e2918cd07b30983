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
# # VGG in PyTorch
#
# A VGG is a list of blocks: some 3x3 convolutions with ReLU, then a 2x2 max-pool. Three dense layers follow. This notebook builds one with PyTorch alone, trains it, and proves at the end that it is the same network as in three other frameworks.
#
# The first cell installs what is missing.

# %%
import importlib.util
import subprocess
import sys

for package in ("torch", "numpy"):
    if not importlib.util.find_spec(package):
        subprocess.run([sys.executable, "-m", "pip", "install", package], check=True)

# %%
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# %% [markdown]
# ## A block
#
# How many convolutions, and how many channels: these two numbers describe a block.


# %%
def vgg_block(in_channels, num_convs, channels):
    layers = OrderedDict()
    for i in range(1, num_convs + 1):
        layers[f"conv{i}"] = nn.Conv2d(in_channels, channels, 3, padding=1)
        layers[f"relu{i}"] = nn.ReLU()
        in_channels = channels
    layers["pool"] = nn.MaxPool2d(2, 2)
    return nn.Sequential(layers)


# %% [markdown]
# ## The network
#
# The list `arch` is all that tells a VGG-11 from a VGG-19. This one is VGG-11 with a quarter of its channels and small dense layers, for images of 64x96 with one channel.

# %%
arch = ((1, 16), (1, 32), (2, 64), (2, 128), (2, 128))
hidden = (256, 256)


def vgg(arch):
    layers, in_channels = OrderedDict(), 1
    for i, (num_convs, channels) in enumerate(arch, 1):
        layers[f"block{i}"] = vgg_block(in_channels, num_convs, channels)
        in_channels = channels
    # In the order C,H,W; Keras and Flax flatten in the order H,W,C.
    layers["flatten"] = nn.Flatten()
    features = in_channels * 2 * 3
    for i, units in enumerate(hidden, 1):
        layers[f"fc{i}"] = nn.Linear(features, units)
        layers[f"fc{i}_relu"] = nn.ReLU()
        layers[f"fc{i}_dropout"] = nn.Dropout(0.5)
        features = units
    layers["fc3"] = nn.Linear(features, 10)
    return nn.Sequential(layers)


torch.manual_seed(0)
model = vgg(arch)
for layer in model.modules():
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)

# %% [markdown]
# ## Shapes
#
# Each block halves height and width: 64x96, 32x48, 16x24, 8x12, 4x6, 2x3. Height and width differ on purpose. In a square image, and even more in a last map of 1x1, some mistakes cannot be seen.

# %%
x = torch.zeros(1, 1, 64, 96)
for name, layer in model.eval().named_children():
    x = layer(x)
    print(f"{name:16} {tuple(x.shape)}")
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")

# %% [markdown]
# ## Can it learn?
#
# A quick test of any network: it should learn a few images by heart, even if they are noise and dropout makes it harder. The loss of guessing among ten classes is 2.3.

# %%
random = np.random.default_rng(0)
images = random.standard_normal((8, 1, 64, 96), dtype="float32")
labels = random.integers(0, 10, 8)

x, y = torch.tensor(images), torch.tensor(labels)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
model.train()
for step in range(101):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

# %% [markdown]
# ## Is it the same network?
#
# From here on vgg takes part. Install it from a checkout of the project, or let Python find it there. Its oracle is the network in float64 NumPy, which all four frameworks are compared with.
#
# The oracle wants canonical parameters: the names of the layer table, convolutions as (out, in, height, width), dense layers as (out, in). PyTorch stores them like this already.

# %%
model.eval()
model.zero_grad()
output = model(x)
F.cross_entropy(output, y).backward()
logits = output.detach().numpy()
canonical = {name: p.detach().numpy() for name, p in model.named_parameters()}
grads = {name: p.grad.numpy() for name, p in model.named_parameters()}

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
