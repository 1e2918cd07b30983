"""Witnesses: the VGGs of three frameworks' own zoos, which nobody here wrote, against ours (``pytest -m witness``).

The zoo builds and initialises its model; all parameters go to ours under canonical names; logits must agree in float64,
where the limit leaves no room for another epsilon, order or layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vgg import Spec, arch, shapes
from vgg.core.comparator import Verdict, compare, forward_limit
from vgg.process import registry
from vgg.process.client import Worker
from vgg.process.registry import Entry

pytestmark = pytest.mark.witness

Params = dict[str, NDArray[Any]]
Workers = tuple[Worker, Worker]
FOLDER = Path(__file__).parent / "witnesses"
DEPTHS = ("vgg11", "vgg13", "vgg16", "vgg19")
ZOOS = {
    "torch": (*DEPTHS, *(f"{name}_bn" for name in DEPTHS)),
    "tensorflow": ("vgg16", "vgg19"),
    "mxnet": (*DEPTHS, *(f"{name}_bn" for name in DEPTHS)),
}
WRONGS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "block1.conv1.bias": lambda bias: bias * (1 + 1e-6),
    "block1.bn1.running_var": lambda variance: variance + (1e-3 - 1e-5),  # Keras' default epsilon
}
"""What must show in the logits, or agreement would say little."""
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 224, 224))


@pytest.fixture(scope="module")
def workers(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Workers]]:
    """Gives (zoo, ours) of a framework, which run until another is asked for: each holds a gigabyte."""
    running: dict[str, Workers] = {}
    with ExitStack() as stack:

        def pair(framework: str) -> Workers:
            if framework not in running:
                running.clear()
                stack.close()
                running[framework] = started(framework, request.config.getoption("--vgg-env"), stack)
            return running[framework]

        yield pair


def started(framework: str, env: str, stack: ExitStack) -> Workers:
    """A zoo that cannot be started is an error, never a skip."""
    ours = registry.find(framework)
    lock, needs = ours.lock, ours.imports
    if framework == "torch":
        lock, needs = lock and lock.with_stem("torch-zoo"), (*needs, "torchvision")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        zoo = Worker(Entry(f"{framework} zoo", f"witness_{framework}", needs, lock), env=env)
    return stack.enter_context(zoo), stack.enter_context(Worker(ours, env=env))


def carried_over(zoo: Worker, spec: Spec) -> Params:
    """The zoo's weights; its biases and statistics, all 0 or 1 as yet, become numbers that show."""
    zoo.build(spec, dtype="float64")
    params, random = zoo.dump(), np.random.default_rng(1)
    vectors = {name: array for name, array in params.items() if array.ndim == 1}
    for name, array in vectors.items():
        positive = name.endswith((".weight", ".running_var"))
        drawn = random.uniform(0.5, 1.5, array.shape) if positive else random.normal(0, 0.1, array.shape)
        vectors[name] = drawn.astype(array.dtype)
    zoo.call("load", vectors)
    return {**params, **vectors}


def judged(spec: Spec, logits: NDArray[Any], zoo: Worker) -> Verdict:
    """Our logits against the zoo's."""
    wanted, limit = {"logits": zoo.forward(IMAGE)}, forward_limit(spec, "float64")
    return compare({"logits": logits}, wanted, limit=limit, dtype="float64")


@pytest.mark.parametrize(("framework", "name"), [(zoo, name) for zoo, names in ZOOS.items() for name in names])
def test_a_zoos_own_vgg_gives_the_logits_of_ours(
    workers: Callable[[str], Workers], framework: str, name: str, record_property: Callable[[str, object], None]
) -> None:
    zoo, own = workers(framework)
    spec = arch(name, classes=10)
    params = carried_over(zoo, spec)
    assert {name: array.shape for name, array in params.items()} == shapes(spec)
    own.build(spec, params, dtype="float64")
    logits = own.forward(IMAGE)
    verdict = judged(spec, logits, zoo)
    record_property("error", verdict.error)
    record_property("limit", float(verdict.limit))
    assert verdict.ok, verdict
    for part in WRONGS.keys() & params.keys():
        zoo.call("load", {part: WRONGS[part](params[part].astype("float64"))})
        wrong = judged(spec, logits, zoo)
        assert np.isfinite(wrong.error)
        assert not wrong.ok, f"{part}: wrong numbers do not show"
        zoo.call("load", {part: params[part]})
