import mxnet as mx

w = mx.nd.ones(1)
optimizer = mx.optimizer.SGD(learning_rate=0.1, momentum=0.9, wd=0.1)
state = optimizer.create_state(0, w)
for _ in range(3):  # the gradient of the loss is 0
    optimizer.update(0, w, mx.nd.zeros(1), state)
print(f"w = {w.asscalar():.5f}")
