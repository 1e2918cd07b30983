import numpy as np

from vgg import Spec, init
from vgg.core import oracle

spec = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(1, 8, 8), classes=3)
spec = spec.modified(hidden=(8,), dropout=0.0)
random = np.random.default_rng(0)
images, labels = random.standard_normal((50, 8, 1, 8, 8)), np.arange(8) % 3
right = wrong = init(spec, dtype="float64")
gradients = {name: np.zeros_like(array) for name, array in right.items()}
steps = dict(gradients)
for number, batch in enumerate(images, 1):
    lr = 0.1 if number <= 25 else 0.01
    _, grads, _ = oracle.loss_and_grads(spec, right, batch, labels)
    right, gradients = oracle.sgd(right, grads, gradients, lr=lr, momentum=0.9)
    _, grads, _ = oracle.loss_and_grads(spec, wrong, batch, labels)
    steps = {name: 0.9 * steps[name] - lr * grads[name] for name in grads}
    wrong = {name: wrong[name] + steps[name] for name in grads}
    if number in (1, 25, 26, 50):
        both = right["fc1.weight"], wrong["fc1.weight"]
        distance = np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[0])
        print(f"step {number:2}, learning rate {lr}: equal {bool(distance < 1e-12)}")
