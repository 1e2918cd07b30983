import mxnet as mx
from mxnet import gluon

logits, labels = mx.nd.array([[2.0, 0.0], [0.0, 1.0]]), mx.nd.array([0, 1])
each = gluon.loss.SoftmaxCrossEntropyLoss()(logits, labels).asnumpy()
print("of logits:", *(f"{loss:.4f}" for loss in each))
print(f"their mean: {each.mean():.4f}")
