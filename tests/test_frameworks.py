"""The four frameworks, each in its own worker: real sizes, models after their learners, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vgg import BackendError, Head, Recipe, Spec, init
from vgg.backends import VELOCITY
from vgg.conformance import checks
from vgg.conformance.cases import CASES, FULL
from vgg.core.blocks import Block, Conv
from vgg.process import registry
from vgg.process.client import Worker

CASE = CASES["batch_norm"]
IMAGES, LABELS = CASE.images("float32"), CASE.labels()
PARAMS = CASE.params("float32")


@pytest.fixture(scope="module", params=registry.own_names())
def worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    with Worker(registry.find(request.param)) as started:
        yield started


def learning(worker: Worker, **recipe: Any) -> None:
    worker.build(CASE.spec, PARAMS)
    worker.learner(Recipe(momentum=0.9, **recipe))


def test_steps_of_a_real_size_give_the_same_bits_twice(worker: Worker) -> None:
    verdict = checks.steady(worker, FULL)
    assert verdict.ok, verdict.reason


def test_a_small_image_is_resized_to_the_books_224_pixels(worker: Worker) -> None:
    spec = Spec((Block((Conv(2, 8, 8, 0),)),), input_shape=(1, 224, 224), classes=3, head=Head(()))
    worker.build(spec, init(spec))
    worker.learner(Recipe())
    pixels = np.random.RandomState(0).randint(0, 256, (4, 1, 28, 28)).astype(np.uint8)
    assert worker.step(pixels, np.array([0, 1, 2, 0]), 0.1) > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_narrow_learner_leaves_its_model_as_wide_as_it_was(worker: Worker, precision: str) -> None:
    if precision not in worker.facts()["precisions"]["cpu"]:
        with pytest.raises(BackendError, match="precision: got "):
            learning(worker, precision=precision)
        return
    learning(worker, precision=precision)
    worker.step(IMAGES, LABELS, 0.01)
    after, (loss, grads) = worker.forward(IMAGES), worker.loss_and_grads(IMAGES, LABELS)
    worker.build(CASE.spec, {name: a for name, a in worker.state().items() if name in PARAMS})
    np.testing.assert_allclose(after, worker.forward(IMAGES), rtol=1e-4, atol=1e-5)
    wanted_loss, wanted = worker.loss_and_grads(IMAGES, LABELS)
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    np.testing.assert_allclose(grads["fc3.weight"], wanted["fc3.weight"], rtol=1e-4, atol=1e-5)


def test_models_of_both_dtypes_live_side_by_side(worker: Worker) -> None:
    exact: list[Any] = []
    for turn in (("float64", "float32"), ("float32", "float64")):
        for dtype in turn:
            worker.select(dtype)
            worker.build(CASE.spec, CASE.params("float32"), dtype=dtype)
        worker.select("float64")
        exact.append(worker.forward(CASE.images("float64")))
        assert exact[-1].dtype == np.float64
    worker.select()
    np.testing.assert_array_equal(exact[0], exact[1])


def test_the_loss_of_one_class_is_zero(worker: Worker) -> None:
    spec = Spec((Block((Conv(3),), None),), input_shape=(1, 4, 5), classes=1, head=Head(()))
    worker.build(spec, init(spec))
    images, labels = 9 * np.random.RandomState(0).standard_normal((7, 1, 4, 5)).astype(np.float32), np.zeros(7, int)
    worker.learner(Recipe())
    assert (worker.loss_and_grads(images, labels)[0], worker.step(images, labels, 0.1)) == (0.0, 0.0)


@pytest.mark.parametrize("label", [-1, CASE.spec.classes, 200])
def test_labels_that_are_no_classes_are_refused(worker: Worker, label: int) -> None:
    learning(worker)
    wrong = np.array([0, label, 1])
    with pytest.raises(BackendError, match="labels: got "):
        worker.loss_and_grads(IMAGES, wrong)
    with pytest.raises(BackendError, match="labels: got "):
        worker.step(IMAGES, wrong, 0.1)


WRONG = {
    "missing": lambda state, name: {n: a for n, a in state.items() if n != name},
    "misshapen": lambda state, name: {**state, name: np.ones((2, 3), np.float32)},
    "unknown": lambda state, name: {**state, f"{name}s": state[name]},
}


@pytest.mark.parametrize("name", ["fc1.bias", "block3.bn2.running_var", f"{VELOCITY}fc1.bias", "step"])
@pytest.mark.parametrize("fault", WRONG)
def test_a_state_that_is_none_of_this_net_is_refused_before_anything_changes(
    worker: Worker, fault: str, name: str
) -> None:
    learning(worker)
    worker.step(IMAGES, LABELS, 0.01)
    state = worker.state()
    with pytest.raises(BackendError, match=name):
        worker.restore(WRONG[fault]({n: a + 1 for n, a in state.items()}, name))
    if name in PARAMS:
        with pytest.raises(BackendError, match=name):
            worker.call("load", WRONG[fault]({n: a + 1 for n, a in PARAMS.items()}, name))
    after = worker.state()
    assert {n: a.tobytes() for n, a in after.items()} == {n: a.tobytes() for n, a in state.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_new_model_holds_the_initial_values_of_all_frameworks(worker: Worker, dtype: str) -> None:
    worker.build(CASE.spec, dtype=dtype)
    held, wanted = worker.dump(), init(CASE.spec, dtype=dtype)
    assert {name: array.tobytes() for name, array in held.items()} == {n: a.tobytes() for n, a in wanted.items()}


def test_a_dtype_that_no_backend_claims_is_refused(worker: Worker) -> None:
    with pytest.raises(BackendError, match="dtype: got float16, wanted one of float64, float32, as the backend claims"):
        worker.build(CASE.spec, dtype="float16")
