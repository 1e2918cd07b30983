import mxnet as mx

# Five channels of ones, alpha = beta = k = 1: the sum of squares is 5.
y = mx.nd.LRN(mx.nd.ones((1, 5, 1, 1)), nsize=5, alpha=1, beta=1, knorm=1)
print(f"{y[0, 2, 0, 0].asscalar():.4f}")
