import torch
import torch.nn.functional as F

logits = torch.zeros(1, 3)
for label in (torch.tensor([1]), torch.tensor([1.0]), torch.tensor([7])):
    try:
        print(label.dtype, label.item(), f"{F.cross_entropy(logits, label):.4f}")
    except (RuntimeError, IndexError) as error:
        print(label.dtype, label.item(), type(error).__name__)
