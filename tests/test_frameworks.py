"""The four frameworks, each in its own worker: real sizes, models after their learners, and what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import vgg
from vgg import BackendError, Head, Recipe, Spec, init
from vgg.backends import VELOCITY
from vgg.conformance import checks
from vgg.conformance.cases import CASES, FULL
from vgg.core.blocks import Block, Conv
from vgg.process import registry
from vgg.process.client import Worker
from vgg.process.environments import launch
from vgg.process.registry import Entry

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


# Which images a backend takes, without a worker that checks them before

WANTED = {"forward": "float32 or float64; give pixels to a learner", "evaluate": "float32 or float64, or uint8 pixels"}
WANTED |= dict.fromkeys(("trace", "loss_and_grads"), WANTED["forward"]) | {"step": WANTED["evaluate"]}


@lru_cache
def answers(backend: str) -> dict[str, dict[str, Any]]:
    """What ``tests/images.py`` says in the backend's environment."""
    tests = Path(__file__).parent
    with TemporaryDirectory(prefix="vgg-") as home:
        Path(home, "vgg").symlink_to(Path(vgg.__file__).parent)
        entry = Entry("oracle", "vgg_oracle") if backend == "oracle" else registry.find(backend)
        command, environ = launch(entry, "auto", home)
        environ |= {"PYTHONPATH": f"{home}:{tests / 'plugin_backend'}", "CUDA_VISIBLE_DEVICES": "-1"}
        script = [*command, str(tests / "images.py"), entry.module]
        done = subprocess.run(script, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "dtype", ["float16", "longdouble", "int8", "int64", "bool", "complex64", "object", ">f4", "list"]
)
@pytest.mark.parametrize("function", WANTED)
@pytest.mark.parametrize("backend", ["oracle", *registry.own_names()])
def test_images_of_other_dtypes_are_refused(backend: str, function: str, dtype: str) -> None:
    name = str(np.dtype(dtype)) if dtype != "list" else "list"
    assert answers(backend)[function][dtype] == f"images: got {name}, wanted {WANTED[function]}"


@pytest.mark.parametrize("backend", ["oracle", *registry.own_names()])
def test_pixels_are_scaled_by_a_learner_and_refused_by_all_else(backend: str) -> None:
    for function in ("forward", "trace", "loss_and_grads"):
        assert answers(backend)[function]["uint8"] == f"images: got uint8, wanted {WANTED[function]}"
    for function in ("evaluate", "step"):
        pixels, scaled = (answers(backend)[function][dtype] for dtype in ("uint8", "scaled"))
        np.testing.assert_allclose(pixels, scaled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["oracle", *registry.own_names()])
def test_floats_are_used_as_they_are_by_all(backend: str) -> None:
    """Values up to 255, which no function scales: the logits are as large for all."""
    for function, values in answers(backend).items():
        np.testing.assert_allclose(values["float64"], values["float32"], rtol=1e-5)
        if function != "step":
            wanted = "loss_and_grads" if function == "loss_and_grads" else "forward"
            np.testing.assert_allclose(values["float32"], answers(backend)[wanted]["float32"], rtol=1e-4)
