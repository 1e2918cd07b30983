import torch
from torch import nn

# Five channels of ones, alpha = beta = k = 1: the sum of squares is 5.
layer = nn.LocalResponseNorm(5, alpha=1, beta=1, k=1)
print(f"{layer(torch.ones(1, 5, 1, 1))[0, 2, 0, 0]:.4f}")
