import torch
from torch import nn

x = torch.full((1, 1, 2, 2), torch.nan)
print(f"ReLU {nn.ReLU()(x).max():.4g}, max-pool {nn.MaxPool2d(2)(x).item():.4g}")
