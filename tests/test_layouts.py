"""What torch trains in another layout than the small nets of the suite."""

from __future__ import annotations

import pytest

from vgg import Head, Spec, registry
from vgg.client import Worker
from vgg.conformance import cases, checks


@pytest.mark.parametrize(("channels", "side"), [(64, 128), (64, 127), (63, 128)])
def test_a_step_on_wide_maps_is_the_oracles(channels: int, side: int) -> None:
    blocks = ((1, channels), (1, 5))
    spec = Spec.from_blocks(blocks, input_shape=(1, side, side + 5), classes=3, head=Head((), global_pool=True))
    with Worker(registry.find("torch")) as worker:
        verdict = checks.learning(worker, cases.Case(spec, batch=2), 0.9)
    assert verdict.ok, verdict.reason
