import numpy as np
import torch
from torch import nn

x = torch.from_numpy(np.ones((1, 4)))  # NumPy's own type is float64
print("images:", x.dtype)
try:
    nn.Linear(4, 2)(x)
except RuntimeError as error:
    print("layer:", error)
