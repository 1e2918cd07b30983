import mxnet as mx

x = mx.nd.array([5e-310], dtype="float64")  # below the smallest normal number
print("2 x 5e-310 =", (2 * x).asscalar())
