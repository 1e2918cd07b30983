import torch

w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.9)
for lr in (1.0, 1.0, 0.1):  # the gradient is always 1
    optimizer.param_groups[0]["lr"] = lr
    w.grad = torch.ones(1)
    optimizer.step()
    print(f"learning rate {lr}: w = {w.item():.3f}")
