"""The layout that torch trains in, which the small nets of the suite do not need."""

from __future__ import annotations

import subprocess

from vgg import Head, Spec
from vgg.conformance import cases, checks
from vgg.process import environments, registry
from vgg.process.client import Worker

WIDE = Spec.from_blocks(((1, 64), (1, 5)), input_shape=(1, 128, 133), classes=3, head=Head((), global_pool=True))
RULE = """
from vgg import Spec, arch
from vgg.backends.torch import build
from vgg.backends.torch.learner import _layout
for spec in (arch("vgg16"), arch("vgg16", input_shape=(3, 64, 64)), arch("vgg11_narrow"), arch("alexnet")):
    print(*(str(_layout(build(spec.modified(hidden=())), p)) for p in ("float32", "bf16")))
"""


def test_a_step_in_nchw_is_the_oracles() -> None:
    with Worker(registry.find("torch")) as worker:
        verdict = checks.learning(worker, cases.Case(WIDE, batch=2), 0.9)
    assert verdict.ok, verdict.reason


def test_nchw_is_for_wide_maps_of_many_channels_in_float32() -> None:
    command, environ = environments.launch(registry.find("torch"), "auto", "")
    printed = subprocess.run([*command, "-c", RULE], env=environ, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["torch.contiguous_format", *["torch.channels_last"] * 7]
