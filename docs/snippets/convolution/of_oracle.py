import numpy as np

from vgg import Block, Conv, Head, Spec, init
from vgg.core import oracle

spec = Spec((Block((Conv(3),), None),), (2, 4, 5), classes=2, head=Head(()))
params = init(spec, dtype="float64")
weight, bias = params["block1.conv1.weight"], params["block1.conv1.bias"]
image = np.random.default_rng(0).standard_normal((1, 2, 4, 5))

padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
by_hand = np.zeros((1, 3, 4, 5))
for channel in range(3):
    for row in range(4):
        for column in range(5):
            window = padded[0, :, row : row + 3, column : column + 3]
            terms = window * weight[channel]
            by_hand[0, channel, row, column] = terms.sum() + bias[channel]

traced = oracle.forward(spec, params, image).activations["block1.conv1"]
error = np.linalg.norm(by_hand - traced) / np.linalg.norm(traced)
print("shape", traced.shape, "and", 2 * 3 * 3, "terms in every sum")
print("relative error below 1e-15:", bool(error < 1e-15))
