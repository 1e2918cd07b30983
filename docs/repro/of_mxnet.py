"""What MXNet 1.9.1 does otherwise than one would think; docs/divergences.md."""

import mxnet as mx
from mxnet import autograd, gluon


def max_pool_in_predict_mode() -> None:
    """The float32 gradient of a pool that is recorded in predict mode; in float64 oneDNN has no part in it."""
    x = mx.nd.array([[[[1, 2], [3, 4]]]])
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = mx.nd.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max")
    y.backward(train_mode=False)
    print(f"max-pool: gradient {x.grad.asnumpy().ravel().tolist()}, wanted [0.0, 0.0, 0.0, 1.0]")


def backward_in_train_mode() -> None:
    """``backward()`` says train mode of itself, whatever ``record`` said."""
    gradients = []
    for told in ({}, {"train_mode": False}):
        layer = gluon.nn.BatchNorm(in_channels=3)
        layer.initialize()
        x = mx.nd.arange(12).reshape((2, 3, 2, 1))
        x.attach_grad()
        with autograd.record(train_mode=False):
            y = (layer(x) ** 2).sum()
        y.backward(**told)
        gradients.append(x.grad.asnumpy().ravel()[:3].round(3).tolist())
    print(f"batch norm in eval mode: gradient {gradients[0]} by backward(), wanted {gradients[1]}")


def statistics_momentum() -> None:
    """A running mean in float64: 0.9 x 1 + 0.1 x 0."""
    layer = gluon.nn.BatchNorm(momentum=0.9, in_channels=1)
    layer.cast("float64")
    layer.initialize()
    layer.running_mean.set_data(mx.nd.ones(1, dtype="float64"))
    with autograd.record():
        y = layer(mx.nd.zeros((2, 1, 2, 2), dtype="float64"))
    y.backward()
    print(f"batch norm in float64: running mean {layer.running_mean.data().asscalar():.17g}, wanted 0.9")


def dropout_scale() -> None:
    """What dropout multiplies by in float64."""
    with autograd.train_mode():
        y = mx.nd.Dropout(mx.nd.ones((1000,), dtype="float64"), p=0.25)
    print(f"dropout in float64: multiplies by {y.asnumpy().max():.17g}, wanted {1 / 0.75:.17g}")


def lrn_in_float64() -> None:
    """An operator that has no float64."""
    try:
        mx.nd.LRN(mx.nd.ones((1, 5, 2, 2), dtype="float64"), nsize=5).asnumpy()
    except mx.MXNetError as error:
        print(f"LRN in float64: {str(error).splitlines()[-1].strip()}")


def not_a_number() -> None:
    """ReLU and max-pool of NaN in float32."""
    x = mx.nd.full((1, 1, 2, 2), float("nan"))
    relu = mx.nd.Activation(x, "relu").asnumpy().max()
    pooled = mx.nd.Pooling(x, kernel=(2, 2), pool_type="max").asnumpy().max()
    print(f"NaN in float32: ReLU gives {relu}, max-pool {pooled:.6g}, wanted nan")


def log_softmax() -> None:
    """The logarithm of the only class's probability, in float32 and in float64."""
    logits = mx.nd.array([[5.0], [1.5], [-7.25]])
    errors = [abs(mx.nd.log_softmax(logits.astype(dtype)).asnumpy()).max() for dtype in ("float32", "float64")]
    print(f"log_softmax of one class: off by {errors[0]:.0e} in float32 and {errors[1]:.0e} in float64, wanted 0")


if __name__ == "__main__":
    max_pool_in_predict_mode()
    backward_in_train_mode()
    statistics_momentum()
    dropout_scale()
    lrn_in_float64()
    not_a_number()
    log_softmax()
