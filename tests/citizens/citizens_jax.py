"""What a user of JAX and Flax does with a model that ``build`` made."""

from __future__ import annotations

import copy
import os
import pickle
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from citizens import Check, images, labels, narrow_as_wide
from flax import linen as nn
from flax.training.train_state import TrainState
from jax import export

from vgg import Block, Conv, Pool, Spec
from vgg.backends.jax import build, dump, forward, learner, load, loss_and_grads, trace, vgg_block
from vgg.core.recipe import Recipe

KEY = jax.random.key(3)


def close(found: Any, wanted: Any) -> None:
    """To float32's rounding in a few layers."""
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def native(spec: Spec) -> jax.Array:
    return jnp.asarray(images(spec).transpose(0, 2, 3, 1))


def mean_loss(module: nn.Module, variables: Any, spec: Spec) -> jax.Array:
    logits = module.apply(variables, native(spec))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels(spec)).mean()


def random_like(tree: Any) -> Any:
    random = np.random.RandomState(1)
    return jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape), leaf.dtype), tree)


def unpacks_into_module_and_variables(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    assert isinstance(module, nn.Module)
    assert set(variables) == {"params", *(["batch_stats"] if spec.batch_norm else [])}
    assert variables["params"]["block1"]["conv1"]["kernel"].shape == (3, 3, spec.input_shape[0], 4)
    assert model.spec == spec
    assert load(model, dump(model)) is model


def has_the_variables_that_flax_itself_would_make(spec: Spec) -> None:
    module, variables = build(spec)
    own = module.init(jax.random.key(0), native(spec))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), own) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), variables
    )


def applies_in_eval_mode(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    close(module.apply(variables, native(spec)), forward(model, images(spec)))


def applies_in_train_mode(spec: Spec) -> None:
    module, variables = build(spec)

    def train(key: jax.Array) -> Any:
        return module.apply(variables, native(spec), train=True, rngs={"dropout": key}, mutable=["batch_stats"])

    logits, moved = train(KEY)
    again, _ = train(KEY)
    others, _ = train(jax.random.key(4))
    np.testing.assert_array_equal(logits, again)
    assert not np.array_equal(logits, others)
    assert bool(moved) == spec.batch_norm
    if spec.batch_norm:
        means = moved["batch_stats"]["block1"]["bn1"]["mean"], variables["batch_stats"]["block1"]["bn1"]["mean"]
        assert not np.array_equal(*means)


def shows_intermediates_as_trace_does(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    _, state = module.apply(variables, native(spec), capture_intermediates=True, mutable=["intermediates"])
    seen, wanted = state["intermediates"], trace(model, images(spec))
    for name in ("block1.conv2", "block2.relu1", "fc1", "fc1.relu"):
        block, _, layer = name.partition(".") if name.startswith("block") else (name, "", "")
        found = seen[block][layer] if layer else seen[name]
        found = np.asarray((found["__call__"] if isinstance(found, dict) else found)[0])
        found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
        close(found, wanted[name])


def trains_in_a_train_state(spec: Spec) -> None:
    module, variables = build(spec)
    rest = {name: collection for name, collection in variables.items() if name != "params"}
    state = TrainState.create(apply_fn=module.apply, params=variables["params"], tx=optax.sgd(0.02, 0.9))

    def step(state: TrainState, rest: Any, key: jax.Array) -> Any:
        def loss_of(params: Any) -> Any:
            given = {"params": params, **rest}
            logits, moved = state.apply_fn(given, native(spec), True, rngs={"dropout": key}, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels(spec)).mean(), moved

        (_, moved), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), {**rest, **moved}

    before, jitted = mean_loss(module, variables, spec), jax.jit(step)
    for number in range(40):
        state, rest = jitted(state, rest, jax.random.fold_in(KEY, number))
    assert state.step == 40
    assert mean_loss(module, {"params": state.params, **rest}, spec) < 0.8 * before


def jits(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    logits = jax.jit(module.apply)(variables, native(spec))
    close(logits, forward(model, images(spec)))


def has_the_gradients_of_loss_and_grads(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    rest = {name: collection for name, collection in variables.items() if name != "params"}
    grads = jax.grad(lambda params: mean_loss(module, {"params": params, **rest}, spec))(variables["params"])
    loss, wanted = loss_and_grads(model, images(spec), labels(spec))
    np.testing.assert_allclose(mean_loss(module, variables, spec), loss, rtol=1e-5)
    kernel, dense = grads["block1"]["conv2"]["kernel"], grads["fc2"]["kernel"]
    close(kernel.transpose(3, 2, 0, 1), wanted["block1.conv2.weight"])
    close(dense.T, wanted["fc2.weight"])


def goes_forward_as_it_goes_back(spec: Spec) -> None:
    module, variables = build(spec)
    tangents = random_like(variables)
    grads = jax.grad(lambda v: mean_loss(module, v, spec))(variables)
    _, slope = jax.jvp(lambda v: mean_loss(module, v, spec), (variables,), (tangents,))
    products = jax.tree.map(lambda g, t: float((g * t).sum()), grads, tangents)
    np.testing.assert_allclose(float(slope), sum(jax.tree.leaves(products)), rtol=1e-3)


def maps_over_images(spec: Spec) -> None:
    module, variables = build(spec)
    one_by_one = jax.vmap(lambda image: module.apply(variables, image[None])[0])(native(spec))
    close(one_by_one, module.apply(variables, native(spec)))


def maps_gradients_over_examples(spec: Spec) -> None:
    module, variables = build(spec)

    def loss_of(given: Any, image: jax.Array, label: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(module.apply(given, image[None])[0])[label]

    each = jax.vmap(jax.grad(loss_of), (None, 0, 0))(variables, native(spec), jnp.asarray(labels(spec)))
    together = jax.grad(lambda given: mean_loss(module, given, spec))(variables)
    for own, whole in zip(jax.tree.leaves(each), jax.tree.leaves(together), strict=True):
        close(own.mean(axis=0), whole)


def exports(spec: Spec) -> None:
    module, variables = build(spec)
    exported = export.export(jax.jit(module.apply))(variables, native(spec))
    exported = export.deserialize(exported.serialize())
    close(exported.call(variables, native(spec)), module.apply(variables, native(spec)))


def pickles(spec: Spec) -> None:
    for dtype in ("float32", "float64"):
        model = build(spec, dtype=dtype)
        twin = pickle.loads(pickle.dumps(model))
        assert twin.spec == spec
        np.testing.assert_array_equal(forward(twin, images(spec)), forward(model, images(spec)))
        assert forward(twin, images(spec)).dtype == dtype


def pickles_its_module(spec: Spec) -> None:
    module, variables = build(spec)
    twin = pickle.loads(pickle.dumps(module))
    assert twin == module
    np.testing.assert_array_equal(twin.apply(variables, native(spec)), module.apply(variables, native(spec)))


def copies_deeply(spec: Spec) -> None:
    model = build(spec)
    twin = copy.deepcopy(model)
    load(twin, {name: 0 * array for name, array in dump(model).items()})
    assert dump(model)["block1.conv1.weight"].any()
    assert twin.spec == spec


def goes_through_flax_serialization(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    written = flax.serialization.to_bytes(variables)
    read = flax.serialization.from_bytes(random_like(variables), written)
    np.testing.assert_array_equal(module.apply(read, native(spec)), module.apply(variables, native(spec)))


def keeps_what_a_user_unpacked_when_a_learner_takes_it_over(spec: Spec) -> None:
    model = build(spec)
    module, variables = model
    before = np.array(module.apply(variables, native(spec)))
    training = learner(model, Recipe(momentum=0.9, precision="float32"))
    training.step(images(spec), labels(spec), 0.1)
    np.testing.assert_array_equal(module.apply(variables, native(spec)), before)
    assert not np.array_equal(model.module.apply(model.variables, native(spec)), before)


def blocks_are_modules_of_their_own(spec: Spec) -> None:
    block = vgg_block(Block((Conv(4), Conv(5)), Pool()), 2, spec.batch_norm)
    x = jnp.ones((1, 7, 6, 2))
    out = block.apply(block.init(KEY, x), x)
    assert out.shape == (1, 3, 3, 5)


def squares_in_float32(spec: Spec) -> None:
    narrow_as_wide(build, learner, spec)


def leaves_the_process_alone(spec: Spec) -> None:
    def surroundings() -> tuple[object, ...]:
        return jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision, dict(os.environ)

    before = surroundings()
    wide = build(spec, dtype="float64")
    logits = forward(wide, images(spec), train=True)
    narrow = build(spec)
    forward(narrow, images(spec))
    trace(wide, images(spec))
    loss_and_grads(wide, images(spec), labels(spec))
    load(wide, dump(wide))
    training = learner(narrow, Recipe(precision="float32"))
    training.step(images(spec), labels(spec), 0.1)
    training.evaluate(images(spec))
    assert dump(wide)["fc1.weight"].dtype == np.float64
    np.testing.assert_array_equal(forward(wide, images(spec), train=True), logits)
    assert logits.dtype == np.float64
    assert surroundings() == before


def is_float64_where_jax_is(spec: Spec) -> None:
    model = build(spec, dtype="float64")
    module, variables = model
    with jax.enable_x64(True):
        x = jnp.asarray(images(spec).transpose(0, 2, 3, 1), "float64")
        logits = module.apply(variables, x)
        assert logits.dtype == np.float64
        np.testing.assert_allclose(logits, forward(model, images(spec)), rtol=1e-12, atol=1e-13)


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        unpacks_into_module_and_variables,
        has_the_variables_that_flax_itself_would_make,
        applies_in_eval_mode,
        applies_in_train_mode,
        shows_intermediates_as_trace_does,
        trains_in_a_train_state,
        jits,
        has_the_gradients_of_loss_and_grads,
        goes_forward_as_it_goes_back,
        maps_over_images,
        maps_gradients_over_examples,
        exports,
        pickles,
        pickles_its_module,
        copies_deeply,
        goes_through_flax_serialization,
        keeps_what_a_user_unpacked_when_a_learner_takes_it_over,
        blocks_are_modules_of_their_own,
        squares_in_float32,
        leaves_the_process_alone,
        is_float64_where_jax_is,
    )
}
