import torch

x = torch.tensor(5e-310, dtype=torch.float64)  # below the smallest normal number
print("2 x 5e-310 =", (2 * x).item())
