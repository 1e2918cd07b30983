"""Architectures by name: those of Table 1 of the paper, and those of the textbook's chapters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .blocks import Block, Conv, Pool
from .errors import unknown
from .spec import CHANGES, Spec


def _column(*counts: int, lrn: bool = False, last_kernel: int = 3) -> tuple[Block, ...]:
    """Return the blocks of one column of Table 1.

    ``counts`` are the convolutions per block; ``last_kernel`` is the kernel of the third one in blocks 3, 4 and 5.
    """
    blocks = []
    for count, width in zip(counts, (64, 128, 256, 512, 512), strict=True):
        convs = [Conv(width)] * count
        if count > 2:
            convs[2] = Conv(width, kernel=last_kernel, padding=last_kernel // 2)
        blocks.append(Block(tuple(convs)))
    if lrn:
        blocks[0] = Block((replace(blocks[0].convs[0], lrn=True),))
    return tuple(blocks)


_TABLE_1 = {
    "vgg11": _column(1, 1, 2, 2, 2),
    "vgg11_lrn": _column(1, 1, 2, 2, 2, lrn=True),
    "vgg13": _column(2, 2, 2, 2, 2),
    "vgg16_1x1": _column(2, 2, 3, 3, 3, last_kernel=1),
    "vgg16": _column(2, 2, 3, 3, 3),
    "vgg19": _column(2, 2, 4, 4, 4),
}
"""Name -> blocks of the columns A, A-LRN, B, C, D and E of Table 1."""
_ALEXNET = (
    Block((Conv(96, kernel=11, stride=4, padding=1),), Pool(3, 2)),
    Block((Conv(256, kernel=5, padding=2),), Pool(3, 2)),
    Block((Conv(384), Conv(384), Conv(256)), Pool(3, 2)),
)
"""From Dive into Deep Learning, chapter "AlexNet": one stream, no LRN."""
_BOOK: dict[str, Any] = {"input_shape": (1, 224, 224), "classes": 10}
_ARCHS: dict[str, Spec] = {name: Spec(blocks, name=name) for name, blocks in _TABLE_1.items()}
_ARCHS["alexnet"] = Spec(_ALEXNET, name="alexnet", **_BOOK)
_ARCHS["vgg11_narrow"] = replace(_ARCHS["vgg11"], name="vgg11_narrow", **_BOOK).modified(narrow=4)
_ARCHS |= {f"{name}_bn": replace(spec, name=f"{name}_bn", batch_norm=True) for name, spec in _ARCHS.items()}


def arch_names() -> tuple[str, ...]:
    """Return every name that ``arch`` accepts, in the order of Table 1."""
    return tuple(_ARCHS)


def arch(name: str, **changes: Any) -> Spec:
    """Return the spec of that name, with the ``changes`` that ``Spec.modified`` accepts.

    The networks of Table 1 take images of 3x224x224 and have 1000 classes. The chapters' ``vgg11_narrow`` and
    ``alexnet`` take 1x224x224 and have 10. Raises ``VGGError`` when the name is unknown or a change is not possible.
    """
    if not isinstance(name, str) or name not in _ARCHS:
        raise unknown("architecture", name, _ARCHS)
    for change in changes:
        if change not in CHANGES:
            raise unknown(f"change of {name}", change, CHANGES)
    return _ARCHS[name].modified(**changes)
