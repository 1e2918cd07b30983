"""What a user of MXNet does with a model that ``build`` made."""

from __future__ import annotations

import io
import os
import random
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import mxnet as mx
import numpy as np
from citizens import Check, images, labels
from mxnet import autograd, gluon
from mxnet.gluon import nn

from vgg import Recipe, Spec
from vgg.backends.mxnet import build, dump, forward, learner, load, loss_and_grads, trace, vgg_block


def hybridizes(spec: Spec) -> None:
    model, x = build(spec), mx.nd.array(images(spec))
    wanted = forward(model, images(spec))
    for options in ({}, {"static_alloc": True, "static_shape": True}):
        model.hybridize(**options)
        np.testing.assert_allclose(model(x).asnumpy(), wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(forward(model, images(spec)), wanted, rtol=1e-5, atol=1e-6)
    assert list(trace(model, images(spec)))[:2] == ["block1.conv1", f"block1.{'bn' if spec.batch_norm else 'relu'}1"]


def trains_by_gluons_trainer(spec: Spec) -> None:
    model = build(spec)
    x, y = mx.nd.array(images(spec)), mx.nd.array(labels(spec))
    before, (_, grads) = dump(model), loss_and_grads(model, images(spec), labels(spec), train=True)
    trainer = gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.1})
    mx.random.seed(0)  # which draws the masks that loss_and_grads drew
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(model(x), y)
    loss.backward()
    trainer.step(len(x))
    for name, grad in grads.items():
        np.testing.assert_allclose(dump(model)[name], before[name] - 0.1 * grad, rtol=1e-4, atol=1e-6)


def trains_by_our_optimizer(spec: Spec) -> None:
    """``gluon.Trainer`` with ``heavyball`` takes the steps of a learner."""
    own, model = build(spec), build(spec)
    recipe = Recipe(momentum=0.9, weight_decay=0.01)
    learned = learner(own, recipe)
    trainer = gluon.Trainer(
        model.collect_params(),
        "heavyball",
        {"learning_rate": 1, "momentum": recipe.momentum, "wd": recipe.weight_decay},
    )
    for step, rate in enumerate((0.1, 0.02)):
        learned.step(images(spec), labels(spec), rate)
        trainer.set_learning_rate(rate)
        mx.random.seed(recipe.mask_seed(step))
        with autograd.record():
            logits = model(mx.nd.array(images(spec)))
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(logits, mx.nd.array(labels(spec)))
        loss.backward()
        trainer.step(len(logits))
    for name, wanted in dump(own).items():
        np.testing.assert_allclose(dump(model)[name], wanted, rtol=1e-4, atol=1e-6)


def saves_parameters(spec: Spec) -> None:
    model, twin = build(spec), build(spec)
    load(twin, {name: array + 1 for name, array in dump(model).items()})
    with TemporaryDirectory() as home:
        file = str(Path(home, "net.params"))
        model.save_parameters(file)
        assert "block1.conv1.weight" in mx.nd.load(file)
        twin.load_parameters(file)
    assert {n: a.tobytes() for n, a in dump(twin).items()} == {n: a.tobytes() for n, a in dump(model).items()}


def saves_its_architecture_too(spec: Spec) -> None:
    """``Block.save`` and ``Block.load`` rename what they load into."""
    model, twin = build(spec), build(spec)
    load(twin, {name: array + 1 for name, array in dump(model).items()})
    with TemporaryDirectory() as home:
        model.save(str(Path(home, "net")))
        twin.load(str(Path(home, "net")))
    np.testing.assert_array_equal(forward(twin, images(spec)), forward(model, images(spec)))
    np.testing.assert_array_equal(list(trace(twin, images(spec)).values())[-1], forward(model, images(spec)))
    assert {n: a.tobytes() for n, a in dump(twin).items()} == {n: a.tobytes() for n, a in dump(model).items()}


def exports(spec: Spec) -> None:
    for dtype in ("float32", "float64"):
        model, x = build(spec, dtype=dtype), mx.nd.array(images(spec), dtype=dtype)
        model.hybridize()
        wanted = model(x).asnumpy()
        with TemporaryDirectory() as home:
            model.export(str(Path(home, "net")))
            files = [str(Path(home, name)) for name in ("net-symbol.json", "net-0000.params")]
            twin = gluon.SymbolBlock.imports(files[0], ["data"], files[1])
        np.testing.assert_allclose(twin(x).asnumpy(), wanted, rtol=1e-5, atol=1e-6)


def summarizes(spec: Spec) -> None:
    model, printed = build(spec), io.StringIO()
    with redirect_stdout(printed):
        model.summary(mx.nd.array(images(spec)))
    told = printed.getvalue().split()
    assert str(sum(array.size for array in dump(model).values())) in told
    assert sum(word.startswith("Conv2D-") for word in told) == 3


def two_live_in_one_parent(spec: Spec) -> None:
    parent = nn.HybridSequential()
    with parent.name_scope():
        inner = build(spec)
    outer = build(spec)
    between = nn.Dense(int(np.prod(spec.input_shape)), in_units=spec.classes)
    between.initialize(mx.init.One())
    parent.add(inner, between, nn.HybridLambda(lambda F, x: F.reshape(x, (-1, *spec.input_shape))), outer)  # noqa: N803
    assert len(parent.collect_params().keys()) == 2 * len(dump(inner)) + 2
    load(inner, {name: array + 1 for name, array in dump(inner).items()})
    assert not np.array_equal(dump(inner)["fc1.weight"], dump(outer)["fc1.weight"])
    parent.hybridize()
    wanted = parent(mx.nd.array(images(spec))).asnumpy()
    with TemporaryDirectory() as home:
        file = str(Path(home, "net.params"))
        parent.save_parameters(file)
        load(inner, dump(outer))
        between.weight.set_data(between.weight.data() + 1)
        assert not np.array_equal(parent(mx.nd.array(images(spec))).asnumpy(), wanted)
        parent.load_parameters(file)
    np.testing.assert_array_equal(parent(mx.nd.array(images(spec))).asnumpy(), wanted)
    assert list(trace(inner, images(spec))) == list(trace(outer, images(spec)))


def two_share_a_dictionary(spec: Spec) -> None:
    one, other, both = build(spec), build(spec), gluon.ParameterDict()
    both.update(one.collect_params())
    both.update(other.collect_params())
    assert len(both.keys()) == 2 * len(dump(one))


def blocks_are_blocks(spec: Spec) -> None:
    """``vgg_block`` alone: a layer among others, its own layers attributes."""
    net = nn.HybridSequential()
    with net.name_scope():
        net.add(vgg_block(spec.blocks[0], spec.input_shape[0], spec.batch_norm), nn.Dense(3))
    net.initialize()
    net.hybridize()
    assert net(mx.nd.array(images(spec))).shape == (3, 3)
    assert net[0].conv1.weight.shape[:2] == (4, 2)


def calls_what_a_user_adds(spec: Spec) -> None:
    model = build(spec)
    with model.name_scope():
        model.add(nn.Dense(2, in_units=spec.classes))
    model[-1].initialize(mx.init.One())
    np.testing.assert_array_equal(list(trace(model, images(spec)).values())[-1], forward(model, images(spec)))


def gives_way_to_another_head(spec: Spec) -> None:
    """What is to be learned of another data set replaces the last layer; names are those of the attributes."""
    model = build(spec)
    model.fc2 = nn.Dense(spec.classes, in_units=9)
    model.fc2.initialize(mx.init.One())
    assert dump(model)["fc2.weight"].all()
    np.testing.assert_array_equal(list(trace(model, images(spec)).values())[-1], forward(model, images(spec)))


def leaves_the_process_alone(spec: Spec) -> None:
    def drawn(meanwhile: bool) -> tuple[object, ...]:
        mx.random.seed(7)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002 - the generator that all share
        first = mx.nd.random.uniform(shape=3).asnumpy().tobytes()
        if meanwhile:
            used()
        numbers = mx.nd.random.uniform(shape=3).asnumpy().tobytes(), mx.nd.random.normal(shape=3).asnumpy().tobytes()
        return first, numbers, random.random(), np.random.random_sample()  # noqa: NPY002

    def used() -> None:
        for dtype in ("float32", "float64"):
            model = build(spec, dtype=dtype)
            forward(model, images(spec))
            trace(model, images(spec))
            loss_and_grads(model, images(spec), labels(spec))
            load(model, dump(model))

    def switches() -> tuple[object, ...]:
        modes = autograd.is_recording(), autograd.is_training()
        return (dict(os.environ), *modes, mx.util.is_np_array(), mx.util.is_np_shape(), mx.context.current_context())

    before, wanted = switches(), drawn(meanwhile=False)
    assert drawn(meanwhile=True) == wanted
    assert switches() == before
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        hybridizes,
        trains_by_gluons_trainer,
        trains_by_our_optimizer,
        saves_parameters,
        saves_its_architecture_too,
        exports,
        summarizes,
        two_live_in_one_parent,
        two_share_a_dictionary,
        blocks_are_blocks,
        calls_what_a_user_adds,
        gives_way_to_another_head,
        leaves_the_process_alone,
    )
}
