import torch
from torch import nn

# One image with two channels: 1 to 4 in the first, 5 to 8 in the second.
image = torch.arange(1, 9).reshape(1, 2, 2, 2)
print(nn.Flatten()(image).tolist())
