import mxnet as mx
from mxnet import gluon

logits, loss = mx.nd.zeros((1, 3)), gluon.loss.SoftmaxCrossEntropyLoss()
for label in (mx.nd.array([1], dtype="int64"), mx.nd.array([1.0]), mx.nd.array([7])):
    print(
        label.dtype.__name__, label.asscalar(), f"{loss(logits, label).asscalar():.4f}"
    )
