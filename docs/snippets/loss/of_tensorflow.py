import numpy as np
from keras import losses, ops

logits, labels = np.array([[2.0, 0.0], [0.0, 1.0]], "float32"), np.array([0, 1])
loss = losses.SparseCategoricalCrossentropy(from_logits=True)
print(f"of logits: {loss(labels, logits):.4f}")
loss = losses.SparseCategoricalCrossentropy()  # it wants probabilities
print(f"of probabilities: {loss(labels, ops.softmax(logits)):.4f}")
print(f"of logits taken for probabilities: {loss(labels, logits):.4f}")
