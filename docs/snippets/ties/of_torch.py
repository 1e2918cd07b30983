import torch
from torch import nn

x = torch.ones(1, 1, 2, 2, requires_grad=True)
nn.MaxPool2d(2)(x).sum().backward()
print(x.grad.flatten().tolist())
