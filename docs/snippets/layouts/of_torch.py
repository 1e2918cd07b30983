from torch import nn

print("convolution", tuple(nn.Conv2d(3, 64, (5, 7)).weight.shape))
print("dense", tuple(nn.Linear(100, 10).weight.shape))
