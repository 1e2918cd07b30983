import torch
from torch import nn

layer, x = nn.Dropout(0.5), torch.ones(1000)
print("as made: drops", bool((layer(x) == 0).any()))
layer.eval()
print("after eval(): drops", bool((layer(x) == 0).any()))
layer.train()
print("after train(): drops", bool((layer(x) == 0).any()))
