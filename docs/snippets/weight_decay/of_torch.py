import torch

w = torch.ones(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1)
for _ in range(3):  # the gradient of the loss is 0
    w.grad = torch.zeros(1)
    optimizer.step()
print(f"w = {w.item():.5f}")
