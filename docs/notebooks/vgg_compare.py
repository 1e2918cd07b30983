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
# # vgg from a notebook
#
# Everything that the commands do can be called from Python, with the names of the flags as keywords. This notebook was run as it stands.

# %%
import importlib.util
import subprocess
import sys

if not importlib.util.find_spec("vgg"):  # from a checkout of the project
    subprocess.run([sys.executable, "-m", "pip", "install", "."], check=True)

# %%
import vgg

spec = vgg.arch("vgg11_narrow", input_shape=(1, 32, 32))
vgg.show(spec)

# %% [markdown]
# ## Train
#
# A run is a directory. While it trains, the cell shows its curves.

# %%
run = vgg.train("torch", spec, recipe="quick", epochs=2, out="runs/notebook-torch")
run

# %%
run.accuracy, len(run.metrics), run.weights()["fc3.weight"].shape, str(run.report)

# %% [markdown]
# ## Compare
#
# The same initial parameters, batches and dropout masks in two frameworks, in float64, and the proof that they are one network.

# %%
both = vgg.compare(
    ["torch", "jax"],
    spec,
    recipe="quick",
    epochs=2,
    dropout="neutral",
    precision="float64",
    out="runs/notebook-both",
)
both

# %%
both.ok, both["jax"].accuracy - both["torch"].accuracy

# %% [markdown]
# ## Check
#
# A part of the conformance suite; each cell has its error and its limit.

# %%
board = vgg.check(["jax"], select="backward-plain")
board

# %%
cell = board.cells["backward plain float64 train"]["jax"]
board.ok, cell["error"], cell["limit"]
