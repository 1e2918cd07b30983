import torch
from torch import nn

layer = nn.BatchNorm1d(1)
layer(torch.tensor([[0.0], [4.0]]))  # mean 2; variance 4 by n, 8 by n - 1
print(f"momentum {layer.momentum}, epsilon {layer.eps}")
print(f"mean {layer.running_mean.item():.2f}, var {layer.running_var.item():.2f}")
