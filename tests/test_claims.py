"""Claims are tested both ways: a worker refuses in one line what is not claimed, before it asks the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sabotage import Inside

from vgg import BackendError, Recipe
from vgg.backends import DTYPES, LEVELS
from vgg.conformance import properties
from vgg.conformance.cases import CASES
from vgg.conformance.claims import claims

CASE = CASES["plain"]


def claiming(level: str = "training", dtypes: tuple[str, ...] = DTYPES) -> Inside:
    """The oracle with that claim; functions beyond it would be noticed if they were called."""

    def claim(b: Any, r: Any) -> None:
        b.LEVEL, b.DTYPES = level, dtypes
        for name in ("loss_and_grads", "learner")[LEVELS.index(level) :]:
            delattr(b, name)

    return Inside(claim)


@pytest.mark.parametrize("dtypes", [("float64",), ("float32",), DTYPES])
@pytest.mark.parametrize("level", LEVELS)
def test_whatever_is_claimed_the_claim_is_kept(level: str, dtypes: tuple[str, ...]) -> None:
    worker = claiming(level, dtypes)
    assert worker.facts()["level"] == level
    assert list(worker.facts()["dtypes"]) == list(dtypes)
    assert claims(worker).ok, claims(worker)


ASKED: dict[str, Callable[[Inside], object]] = {
    "dtype: got float64, wanted one of float32": lambda w: w.build(CASE.spec, dtype="float64"),
    "forward: level: got inference, as the backend claims, wanted gradients": lambda w: w.forward(_x(), train=True),
    "trace: level: got inference, as the backend claims, wanted gradients": lambda w: w.trace(_x(), train=True),
    "loss_and_grads: level: got inference, as the backend claims, wanted gradients": lambda w: w.loss_and_grads(
        _x(), CASE.labels()
    ),
    "level: got inference, as the backend claims, wanted training": lambda w: w.learner(Recipe()),
    "level: got inference, as the backend claims, wanted training, which train needs": lambda w: w.call(
        "train", {}, out="", device="cpu", recipe=Recipe().to_dict(), spec=CASE.spec.to_dict()
    ),
    "level: got inference, as the backend claims, wanted training, which contend needs": lambda w: w.call(
        "contend", {}, device="cpu", recipe=Recipe().to_dict()
    ),
}


def _x() -> Any:
    return CASE.images("float32")


@pytest.mark.parametrize("message", ASKED)
def test_what_is_not_claimed_is_refused_in_one_line(message: str) -> None:
    worker = claiming("inference", ("float32",))
    worker.build(CASE.spec, CASE.params("float32"))
    with pytest.raises(BackendError) as refusal:
        ASKED[message](worker)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert worker.forward(_x()).shape == (CASE.batch, CASE.spec.classes)


def test_a_recipe_in_a_dtype_that_is_not_claimed_is_refused() -> None:
    worker = claiming("training", ("float32",))
    worker.build(CASE.spec, CASE.params("float32"))
    assert worker.facts()["precisions"] == {"cpu": ("float32", "fp16")}
    with pytest.raises(BackendError, match="dtype: got float64, wanted one of float32, as the backend claims"):
        worker.learner(Recipe(precision="float64"))


def _modest(b: Any, r: Any) -> None:
    b.LEVEL, b.DTYPES = "inference", ("float32",)


class Careless(Inside):
    """Grants, or refuses badly, what it does not claim."""

    def __init__(self, fault: str) -> None:
        super().__init__(_modest)
        self.fault = fault

    def call(self, job: str, *arguments: Any, **named: Any) -> Any:
        beyond = {"build": named.get("dtype") != "float32", "loss_and_grads": True, "learner": True}
        beyond |= {"forward": named.get("train", False)}
        if self.fault == "grants" and beyond.get(job):
            return 0.0, {"logits": np.zeros(0)}
        if self.fault == "changes" and beyond.get(job):
            self.session.slot.model.params["fc1.bias"] += 1
        try:
            return super().call(job, *arguments, **named)
        except BackendError as error:
            if self.fault == "traces":
                raise BackendError(f"{error}\n  in line 5") from error
            raise BackendError("no such thing" if self.fault == "mumbles" else str(error)) from error


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("grants", "a model in float64: got it, wanted a refusal, since the backend does not claim it"),
        ("grants", "gradients: got it"),
        ("grants", "train mode: got it"),
        ("grants", "a learner: got it"),
        ("traces", "a model in float64: refused by"),
        ("mumbles", "a learner: refused by 'no such thing'"),
        ("changes", "what was refused changed the model"),
    ],
)
def test_a_refusal_that_is_none_is_a_failure(fault: str, reason: str) -> None:
    assert reason in claims(Careless(fault)).reason


def test_random_specs_are_others_with_another_seed() -> None:
    worker = Inside()
    first, same, other = (properties.properties(lambda: worker, 3, "float64", seed).where for seed in (None, None, 5))
    assert first == same != other


@pytest.mark.parametrize("seed", range(3))
def test_float32_rounding_is_no_failure_of_random_specs(seed: int) -> None:
    worker = Inside(_in_float32)
    verdict = properties.properties(lambda: worker, 20, "float32", seed)
    assert verdict.ok, verdict.reason
    assert verdict.error > 1e-9


def _in_float32(b: Any, r: Any) -> None:
    """Every layer's result is rounded to float32, on the way there and back."""

    def there(original: Any) -> Any:
        return lambda *a: original(*a).astype(np.float32).astype(np.float64)

    def back(original: Any) -> Any:
        def rounded(*a: Any) -> Any:
            grad, own = original(*a)
            return grad.astype(np.float32).astype(np.float64), own

        return rounded

    for rules, wrapper in ((r._FORWARD, there), (r._BACKWARD, back)):
        for kind, rule in rules.items():
            rules[kind] = wrapper(rule)
