"""Runs the checks of one framework on three nets, in that framework's environment.

``python citizens.py FRAMEWORK`` prints JSON: what went wrong, by "check net"; an empty text where nothing did.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg import Block, Conv, Head, Pool, Recipe, Spec, VGGError, init

Check = Callable[[Spec], None]
_BLOCKS = (Block((Conv(4), Conv(5)), Pool()), Block((Conv(6),), Pool(3, 2)))
_LRN = (Block((Conv(4, lrn=True), Conv(5)), Pool()), Block((Conv(6),), None))
_HEAD = Head((9,), 0.5)
WIDTHS = ("float32", "fp16")
NETS = {
    "plain": Spec(_BLOCKS, (2, 13, 11), 5, _HEAD, name="plain"),
    "bn": Spec(_BLOCKS, (2, 13, 11), 5, _HEAD, batch_norm=True, name="plain_bn"),
    "lrn": Spec(_LRN, (2, 8, 7), 5, _HEAD, name="plain_lrn"),
}


def images(spec: Spec, count: int = 3) -> NDArray[np.float32]:
    """(count, C, H, W), seeded noise."""
    return np.random.RandomState(0).standard_normal((count, *spec.input_shape)).astype(np.float32)


def labels(spec: Spec, count: int = 3) -> NDArray[np.int64]:
    """(count,), every class in turn."""
    return np.arange(count, dtype=np.int64) % spec.classes


def holds_the_initial_parameters(backend: Any, spec: Spec) -> None:
    """What ``build`` gives holds ``vgg.init(spec)``, the same bits in every framework and in both dtypes."""
    for dtype in ("float32", "float64"):
        wanted = {name: (array.dtype, array.tobytes()) for name, array in init(spec, dtype=dtype).items()}
        params = backend.dump(backend.build(spec, dtype=dtype))
        assert {name: (array.dtype, array.tobytes()) for name, array in params.items()} == wanted


def refuses_other_devices_and_dtypes(backend: Any, spec: Spec) -> None:
    """``build`` refuses devices and dtypes that it does not know, and a GPU on a machine without one."""
    for wrong in ({"device": "cuda"}, {"device": "tpu"}, {"device": "gpu"}, {"dtype": "float16"}, {"dtype": "bf16"}):
        try:
            backend.build(spec, **wrong)
        except VGGError:
            continue
        raise AssertionError(wrong)


def refuses_masks_that_do_not_fit(backend: Any, spec: Spec) -> None:
    """A learner refuses masks that a framework would broadcast or cut, and one too many or too few."""
    mask = np.ones((3, 9), np.float32)
    for wrong in (mask[:1], mask[:, :1], np.ones((4, 9)), mask[None], mask.T):
        for masks in ({"fc1.dropout": wrong}, {"fc1.dropout": mask, "fc2.dropout": mask}, {"fc1": mask}):
            learning = backend.learner(backend.build(spec), Recipe())
            try:
                learning.step(images(spec), labels(spec), 0.1, masks)
            except VGGError:
                assert learning.state()["step"] == 0
                continue
            raise AssertionError(masks)


COMMON: dict[str, Callable[[Any, Spec], None]] = {
    check.__name__: check
    for check in (holds_the_initial_parameters, refuses_masks_that_do_not_fit, refuses_other_devices_and_dtypes)
}
"""What every framework's models do: checks of a backend's module."""


def narrow_as_wide(build: Callable[..., Any], learner: Callable[..., Any], spec: Spec) -> None:
    """A learner in float16 evaluates activations above 256, whose squares exceed float16, as one in float32 does."""
    wide, narrow = (learner(build(spec), Recipe(precision=name)).evaluate(1000 * images(spec)) for name in WIDTHS)
    np.testing.assert_allclose(narrow, wide, rtol=0.02, atol=0.02 * np.abs(wide).max())


def main(framework: str) -> None:
    """Run the checks that all frameworks share, and ``CHECKS`` of this one's file."""
    backend, results = importlib.import_module(f"vgg.backends.{framework}"), {}
    common = {name: partial(check, backend) for name, check in COMMON.items()}
    for name, check in (common | importlib.import_module(f"citizens_{framework}").CHECKS).items():
        for net, spec in NETS.items():
            try:
                check(spec)
                results[f"{name} {net}"] = ""
            except Exception:  # noqa: BLE001 - whatever it is, it is the check's result
                results[f"{name} {net}"] = traceback.format_exc()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
