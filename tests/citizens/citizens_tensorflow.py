"""What a user of Keras does with a model that ``build`` made."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from citizens import Check, images, labels, narrow_as_wide
from numpy.typing import NDArray

from vgg import Recipe, Spec, init
from vgg.backends.tensorflow import build, dump, forward, learner, load, loss_and_grads, trace, vgg_block

Arrays = dict[str, NDArray[Any]]
THROWN = (
    tf.config.experimental.tensor_float_32_execution_enabled(),
    tf.config.threading.get_inter_op_parallelism_threads(),
)
"""TensorFlow's switches after the backend was imported."""


def saves_and_loads(spec: Spec) -> None:
    for dtype in ("float32", "float64"):
        model = load(build(spec, dtype=dtype), init(spec, 5, dtype=dtype))
        with TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            twin = keras.models.load_model(f"{folder}/model.keras")
        assert twin.spec == spec
        assert twin.name == model.name
        _same(twin, model, spec, dtype)


def clones(spec: Spec) -> None:
    for dtype in ("float32", "float64"):
        model = load(build(spec, dtype=dtype), init(spec, 5, dtype=dtype))
        twin = keras.models.clone_model(model)
        assert not dump(twin)["block1.conv1.weight"].any()
        load(twin, dump(model))
        _same(twin, model, spec, dtype)


def is_made_of_its_configuration(spec: Spec) -> None:
    model = build(spec)
    twin = keras.models.model_from_json(model.to_json())
    assert twin.spec == spec
    twin.set_weights(model.get_weights())
    _same(twin, model, spec, "float32")


def saves_weights_alone(spec: Spec) -> None:
    model = load(build(spec), init(spec, 5))
    with TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/model.weights.h5")
        twin = build(spec)
        twin.load_weights(f"{folder}/model.weights.h5")
    _same(twin, model, spec, "float32")


def exports_and_serves(spec: Spec) -> None:
    model, x = build(spec), _nhwc(spec)
    with TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        served = tf.saved_model.load(folder)
    np.testing.assert_allclose(served.serve(tf.constant(x)), model(x), rtol=1e-5, atol=1e-6)


def compiles_and_fits(spec: Spec) -> None:
    model = build(spec)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    before = dump(model)
    history = model.fit(_nhwc(spec), labels(spec), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert all((dump(model)[name] != array).any() for name, array in before.items() if name.endswith("weight"))
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        twin = keras.models.load_model(f"{folder}/model.keras")
    _same(twin, model, spec, "float32")


def compiles_by_xla(spec: Spec) -> None:
    model, x = build(spec), _nhwc(spec)
    compiled = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def trains_in_a_loop_of_ones_own(spec: Spec) -> None:
    model = build(spec)
    before, (loss, grads) = dump(model), loss_and_grads(model, images(spec), labels(spec))
    with tf.GradientTape() as tape:
        own = keras.losses.sparse_categorical_crossentropy(labels(spec), model(_nhwc(spec)), from_logits=True)
        own = tf.reduce_mean(own)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.apply(tape.gradient(own, model.trainable_variables), model.trainable_variables)
    np.testing.assert_allclose(own, loss, rtol=1e-5)
    for name, grad in grads.items():
        np.testing.assert_allclose(dump(model)[name], before[name] - 0.1 * grad, rtol=1e-4, atol=1e-6)


def a_part_is_a_model(spec: Spec) -> None:
    model = build(spec)
    part = keras.Model(model.inputs, model.get_layer("block1").output)
    wanted = [array for name, array in trace(model, images(spec)).items() if name.startswith("block1.")][-1]
    np.testing.assert_array_equal(np.moveaxis(part(_nhwc(spec)).numpy(), 3, 1), wanted)


def a_loaded_model_learns(spec: Spec) -> None:
    recipe = Recipe(momentum=0.9, weight_decay=1e-3)
    model = build(spec)
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        twin = keras.models.load_model(f"{folder}/model.keras")
    states = []
    for each in (model, twin, load(keras.models.clone_model(model), dump(model))):
        learning = learner(each, recipe)
        for _ in range(2):
            learning.step(images(spec), labels(spec), 0.1)
        states.append(learning.state())
    for state in states[1:]:
        _identical(state, states[0])


def has_the_specs_name_and_known_layers(spec: Spec) -> None:
    model = build(spec)
    assert (model.name, model.spec) == (spec.name, spec)
    for layer in model._flatten_layers(include_self=False):
        own = keras.saving.get_registered_object(f"vgg>{type(layer).__name__}") is type(layer)
        assert own or getattr(keras.layers, type(layer).__name__, keras.Sequential) is type(layer), layer
        assert not isinstance(layer, keras.layers.Lambda)


def any_name_will_do(spec: Spec) -> None:
    for name in ("my own net, 2", "a/b", "", "_", "Größe"):
        model = build(replace(spec, name=name))
        with TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            assert keras.models.load_model(f"{folder}/model.keras").spec.name == name
        tf.function(model)(_nhwc(spec))


def two_live_side_by_side(spec: Spec) -> None:
    one, other = build(spec), build(spec, dtype="float64")
    kept, logits = dump(one), forward(one, images(spec))
    load(other, {name: array + 1 for name, array in dump(other).items()})
    both = keras.Sequential([keras.Input(_nhwc(spec).shape[1:]), keras.layers.Identity(), build(spec)])
    assert np.isfinite(both(_nhwc(spec))).all()
    _identical(dump(one), kept)
    np.testing.assert_array_equal(forward(one, images(spec)), logits)
    assert forward(other, images(spec)).dtype == np.float64


def blocks_know_their_channels(spec: Spec) -> None:
    block = vgg_block(spec.blocks[0], 2, spec.batch_norm)
    assert block.built
    assert block(np.ones((1, 7, 6, 2), np.float32)).shape == (1, 3, 3, 5)
    try:
        block(np.ones((1, 7, 6, 3), np.float32))
    except ValueError:
        return
    raise AssertionError


def squares_in_float32(spec: Spec) -> None:
    narrow_as_wide(build, learner, spec)


def no_setting_of_the_users_changes_a_number(spec: Spec) -> None:
    wanted = _everything(spec)
    before = keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy()
    try:
        keras.config.set_image_data_format("channels_first")
        for floatx, policy in (("float16", "float16"), ("float64", "float64"), ("float32", "mixed_bfloat16")):
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)
            _identical(_everything(spec), wanted)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_image_data_format(before[1])
        keras.config.set_dtype_policy(before[2])


def throws_no_switch_when_imported(spec: Spec) -> None:
    assert THROWN == (True, 0), spec.name


def refuses_another_keras(spec: Spec) -> None:
    script = "import keras; keras.backend.backend = lambda: 'jax'; import vgg.backends.tensorflow"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    wanted = "VGGError: keras.backend.backend(): got jax, wanted tensorflow; set KERAS_BACKEND=tensorflow before Keras"
    assert wanted in done.stderr, spec.name


def leaves_the_process_alone(spec: Spec) -> None:
    def surroundings() -> tuple[object, ...]:
        threads = tf.config.threading.get_inter_op_parallelism_threads()
        switches = tf.config.experimental.tensor_float_32_execution_enabled(), threads
        keras_says = keras.config.floatx(), keras.config.dtype_policy().name, keras.config.image_data_format()
        numpys = np.random.get_state()[1].tobytes()  # type: ignore[index]  # noqa: NPY002
        drawn = random.getstate(), numpys, tf.random.get_global_generator().state.numpy().tobytes()
        return (*switches, *keras_says, *drawn, kerass.state.numpy().tobytes(), dict(os.environ), Path.cwd())

    keras.utils.set_random_seed(7)
    kerass = keras.src.random.seed_generator.global_seed_generator()  # Keras has no public way; its seed is drawn now
    tf.config.experimental.enable_tensor_float_32_execution(True)
    before = surroundings()
    model = build(spec, dtype="float64")
    forward(model, images(spec), train=True)
    trace(model, images(spec))
    loss_and_grads(model, images(spec), labels(spec), train=True)
    dump(model)
    learning = learner(build(spec), Recipe())
    learning.step(images(spec), labels(spec), 0.1)
    learning.evaluate(images(spec))
    assert [a for a, b in zip(surroundings(), before, strict=True) if a != b] == []
    ours = tf.random.uniform(()).numpy()
    tf.random.set_seed(7)
    assert ours == tf.random.uniform(()).numpy()


def _nhwc(spec: Spec) -> NDArray[np.float32]:
    return np.ascontiguousarray(images(spec).transpose(0, 2, 3, 1))


def _everything(spec: Spec) -> Arrays:
    """What a model and a learner of it give."""
    model = load(build(spec), init(spec, 5))
    learning = learner(build(spec), Recipe(momentum=0.9))
    learning.step(images(spec), labels(spec), 0.1)
    stepped = {f"stepped {name}": array for name, array in learning.state().items()}
    logits = {"logits": forward(model, images(spec)), "evaluated": learning.evaluate(images(spec))}
    return {**trace(model, images(spec), train=True), **dump(model), **stepped, **logits}


def _same(twin: keras.Model, model: keras.Model, spec: Spec, dtype: str) -> None:
    """The same bits, asked in all the ways that there are."""
    _identical(dump(twin), dump(model))
    x = images(spec).astype(dtype)
    _identical({"logits": forward(twin, x)}, {"logits": forward(model, x)})
    _identical(trace(twin, x, train=True), trace(model, x, train=True))
    _identical(loss_and_grads(twin, x, labels(spec))[1], loss_and_grads(model, x, labels(spec))[1])


def _identical(got: Arrays, wanted: Arrays) -> None:
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert (got[name].dtype, got[name].tobytes()) == (array.dtype, array.tobytes()), name


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        saves_and_loads,
        clones,
        is_made_of_its_configuration,
        saves_weights_alone,
        exports_and_serves,
        compiles_and_fits,
        compiles_by_xla,
        trains_in_a_loop_of_ones_own,
        a_part_is_a_model,
        a_loaded_model_learns,
        has_the_specs_name_and_known_layers,
        any_name_will_do,
        two_live_side_by_side,
        blocks_know_their_channels,
        squares_in_float32,
        no_setting_of_the_users_changes_a_number,
        throws_no_switch_when_imported,
        refuses_another_keras,
        leaves_the_process_alone,
    )
}
