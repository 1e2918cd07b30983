import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(4, 32, 16, 16)
for depth in range(1, 17):
    x = nn.Conv2d(32, 32, 3, padding=1)(x).relu()
    if depth in (1, 4, 8, 16):
        print(f"after {depth:2} layers: std {x.std():.1e}")
