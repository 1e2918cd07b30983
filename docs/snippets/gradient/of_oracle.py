import numpy as np

from vgg import Spec, init
from vgg.core import oracle

spec = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(1, 9, 7), classes=3)
spec = spec.modified(hidden=(5,), dropout=0.0)
params = init(spec, seed=1, dtype="float64")
random = np.random.default_rng(0)
images, labels = random.standard_normal((4, 1, 9, 7)), np.array([0, 2, 1, 2])
loss, grads, _ = oracle.loss_and_grads(spec, params, images, labels)

for name in ("block1.conv1.weight", "block2.conv1.bias", "fc1.weight"):
    direction = random.standard_normal(params[name].shape)
    step = 1e-6 * direction
    moved = [
        oracle.loss_and_grads(spec, params | {name: params[name] + s}, images, labels)
        for s in (step, -step)
    ]
    slope = (moved[0][0] - moved[1][0]) / 2e-6
    wanted = (grads[name] * direction).sum()
    print(f"{name}: slope {slope:.5f}, gradient {wanted:.5f}")
