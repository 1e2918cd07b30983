import mxnet as mx

w, gradient = mx.nd.zeros(1), mx.nd.ones(1)  # the gradient is always 1
optimizer = mx.optimizer.SGD(learning_rate=1.0, momentum=0.9)
state = optimizer.create_state(0, w)
for lr in (1.0, 1.0, 0.1):
    optimizer.set_learning_rate(lr)
    optimizer.update(0, w, gradient, state)
    print(f"learning rate {lr}: w = {w.asscalar():.3f}")
