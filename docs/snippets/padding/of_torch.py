import torch
from torch import nn

x = torch.tensor([[[1.0, 2, 3, 4]]])
conv = nn.Conv1d(1, 1, 3, stride=2, padding=1, bias=False)
nn.init.ones_(conv.weight)
print("sums of three, stride 2:", conv(x).flatten().tolist())
pool = nn.MaxPool1d(2, 2)
print("pool of 5 values gives", pool(torch.ones(1, 1, 5)).shape[-1])
