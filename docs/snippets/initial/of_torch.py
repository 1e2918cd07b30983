import torch
from torch import nn

torch.manual_seed(0)
layer = nn.Conv2d(64, 256, 3)  # 576 terms in every sum
print(f"largest weight {layer.weight.abs().max():.3f}, std {layer.weight.std():.3f}")
print(f"largest bias {layer.bias.abs().max():.3f}")
