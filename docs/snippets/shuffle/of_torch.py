import torch
from torch.utils.data import DataLoader

torch.manual_seed(0)
batches = DataLoader(range(100), batch_size=2, shuffle=True)
print("batches of neighbours:", sum(int(b) == int(a) + 1 for a, b in batches), "of 50")
