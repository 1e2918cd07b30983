import torch
from torch import nn

logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
loss = nn.CrossEntropyLoss()
print(f"of logits: {loss(logits, labels):.4f}")
print(f"of probabilities: {loss(logits.softmax(dim=1), labels):.4f}")
