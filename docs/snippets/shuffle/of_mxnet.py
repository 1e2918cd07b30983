import numpy as np
from mxnet.gluon.data import ArrayDataset, DataLoader

np.random.seed(0)  # the loader shuffles by NumPy's generator, not by MXNet's
batches = DataLoader(ArrayDataset(list(range(100))), batch_size=2, shuffle=True)
pairs = [pair.asnumpy() for pair in batches]
print("batches of neighbours:", sum(int(b) == int(a) + 1 for a, b in pairs), "of 50")
