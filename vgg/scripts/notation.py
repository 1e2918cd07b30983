"""A spec in the words of a script: the architecture as a tuple, and the arguments of its layers.

What is the same for all convolutions, or for all pools, is an argument in the code. What differs is in the tuple.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..core.blocks import Block, Conv
from ..core.spec import Spec

_DEFAULTS = {"stride": 1, "padding": 0}


@dataclass(frozen=True)
class Notation:
    """The words that templates use for ``spec``."""

    spec: Spec

    @cached_property
    def convs(self) -> list[Conv]:
        """All convolutions, in order."""
        return [conv for block in self.spec.blocks for conv in block.convs]

    @cached_property
    def counted(self) -> bool:
        """Whether a block is the chapters' pair (convolutions, channels): its convolutions are all the same."""
        return not self._columns and all(len({c.channels for c in block.convs}) == 1 for block in self.spec.blocks)

    @cached_property
    def _columns(self) -> list[str]:
        """The fields that differ between convolutions, besides channels."""
        return [name for name in ("kernel", "stride", "padding", "lrn") if self._differs(name)]

    def _differs(self, name: str) -> bool:
        if name == "padding" and self._halved:
            return False
        return len({getattr(conv, name) for conv in self.convs}) > 1

    @cached_property
    def _halved(self) -> bool:
        """Whether all paddings are half of a kernel that differs, so that code can compute them."""
        return self._differs("kernel") and all(conv.padding == conv.kernel // 2 for conv in self.convs)

    @cached_property
    def arch(self) -> tuple[Any, ...]:
        """The architecture: one item per block."""
        return tuple(self._item(block) for block in self.spec.blocks)

    def _item(self, block: Block) -> Any:
        pool = ((block.pool.kernel, block.pool.stride) if block.pool else None,) if self.pool_differs else ()
        if self.counted:
            return (len(block.convs), block.convs[0].channels, *pool)
        convs = tuple(self._row(conv) for conv in block.convs)
        return (convs, *pool) if pool else convs

    def _row(self, conv: Conv) -> Any:
        row = (conv.channels, *(getattr(conv, name) for name in self._columns))
        return row if self._columns else conv.channels

    @cached_property
    def legend(self) -> str:
        """What an item of ``arch`` holds, for a comment."""
        if self.counted:
            return f"(number of convolutions, channels{', pool' * self.pool_differs})"
        return f"({self._row_names} of each convolution{'; pool' * self.pool_differs})"

    @cached_property
    def block(self) -> str:
        """The names of what an item of ``arch`` holds, as parameters of ``vgg_block``."""
        return ("num_convs, channels" if self.counted else "convs") + ", pool" * self.pool_differs

    @cached_property
    def each(self) -> str:
        """The target of a loop over ``arch``."""
        return f"({self.block})" if "," in self.block else self.block

    @property
    def conv(self) -> str:
        """The head of the loop over a block's convolutions, which are counted from 1 by ``i``."""
        return self.conv_of("")

    def conv_of(self, owner: str) -> str:
        """Return the head of that loop if the block's item belongs to an ``owner``, such as ``self.``."""
        if self.counted:
            return f"for i in range(1, {owner}num_convs + 1):"
        return f"for i, {self._row_names} in enumerate({owner}convs, 1):"

    @cached_property
    def _row_names(self) -> str:
        return f"({', '.join(('channels', *self._columns))})" if self._columns else "channels"

    @cached_property
    def last_channels(self) -> str:
        """The channels that come out of a block."""
        return "channels" if self.counted else "convs[-1][0]" if self._columns else "convs[-1]"

    @cached_property
    def kernel(self) -> str:
        """The kernel's side: a number, or ``kernel`` where it differs."""
        return self._word("kernel")

    @cached_property
    def stride(self) -> str:
        """The stride: a number, ``stride`` where it differs, or an empty text if it is always 1."""
        return self._word("stride")

    @cached_property
    def padding(self) -> str:
        """The padding: a number, ``padding`` or ``kernel // 2`` where it differs; an empty text if it is always 0."""
        return "kernel // 2" if self._halved else self._word("padding")

    def window(self, stride: str) -> str:
        """Return the arguments of a convolution: kernel, stride (whose keyword is ``stride``) and padding."""
        if self.stride == "stride" and self.padding:
            return f"{self.kernel}, {self.stride}, {self.padding}"
        words = {stride: self.stride, "padding": self.padding}
        return ", ".join([self.kernel, *(f"{name}={word}" for name, word in words.items() if word)])

    def _word(self, name: str) -> str:
        value = getattr(self.convs[0], name)
        return name if self._differs(name) else "" if value == _DEFAULTS.get(name) else str(value)

    @cached_property
    def keeps_size(self) -> bool:
        """Whether every convolution keeps height and width, which Keras calls "same" padding."""
        return all(conv.stride == 1 and conv.kernel == 2 * conv.padding + 1 for conv in self.convs)

    @cached_property
    def lrn(self) -> str:
        """Which convolutions have an LRN: ``none``, ``all``, or ``some``, for which ``lrn`` is true."""
        return "some" if self._differs("lrn") else "all" if self.convs[0].lrn else "none"

    @cached_property
    def pool_differs(self) -> bool:
        """Whether pools differ from block to block; some blocks may have none."""
        return len({block.pool for block in self.spec.blocks}) > 1

    @cached_property
    def pool(self) -> tuple[str, str] | None:
        """(kernel, stride) of the pools, in numbers or, where they differ, in terms of ``pool``; None without pools."""
        pool = self.spec.blocks[0].pool
        if self.pool_differs:
            return "pool[0]", "pool[1]"
        return (str(pool.kernel), str(pool.stride)) if pool else None

    @cached_property
    def last(self) -> str:
        """The name of the last dense layer."""
        return f"fc{len(self.spec.head.hidden) + 1}"

    @cached_property
    def permuted(self) -> bool:
        """Whether the order of flattening matters: the last map has several channels and several positions."""
        channels, height, width = self.spec.feature_shape
        return not self.spec.head.global_pool and channels > 1 and height * width > 1

    @cached_property
    def modal(self) -> bool:
        """Whether a layer differs between training and evaluation."""
        return self.spec.batch_norm or self.dropout

    @cached_property
    def dropout(self) -> bool:
        """Whether there is a dropout layer."""
        return bool(self.spec.head.dropout and self.spec.head.hidden)
