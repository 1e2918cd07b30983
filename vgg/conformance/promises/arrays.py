"""Arrays as callers use them: in every memory layout, reused for other numbers, overwritten after a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
_GARBAGE = 113


def copied(arrays: Mapping[str, Array]) -> Arrays:
    """Return a copy of every array, in C order."""
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def aligned(array: Array, to: int) -> Array:
    """Return a copy that begins at a multiple of ``to`` bytes: frameworks may use such memory without copying it."""
    room = np.empty(array.nbytes + to, np.uint8)
    start = -room.ctypes.data % to
    view: Array = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def ruin(array: Array) -> None:
    """Overwrite all memory that a caller's ``array`` lies in, even if the array is a read-only view of it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    array[...] = _GARBAGE


def overwrite(array: Array) -> None:
    """Overwrite the elements of an ``array`` that a backend returned, and nothing around them."""
    array[...] = _GARBAGE


def overlapping(arrays: list[tuple[str, Array]]) -> str:
    """Return the names of the first two arrays that share memory, or an empty text if none do."""
    for number, (name, array) in enumerate(arrays):
        for other, another in arrays[:number]:
            if np.may_share_memory(array, another) and np.shares_memory(array, another):
                return f"{other} and {name}"
    return ""


def _page(array: Array) -> Array:
    return aligned(array, 4096)


def _cache_line(array: Array) -> Array:
    return aligned(array, 64)


def _fortran(array: Array) -> Array:
    return np.array(array, order="F")


def _channels_last(array: Array) -> Array:
    """Return a copy of images (N, C, H, W) that lies in memory as N, H, W, C, as in many libraries."""
    return np.moveaxis(np.array(np.moveaxis(array, 1, -1), order="C"), -1, 1) if array.ndim == 4 else np.array(array)


def _every_other(array: Array) -> Array:
    room = np.zeros((*array.shape, 2), array.dtype)
    room[..., 0] = array
    return room[..., 0] if array.ndim else np.array(array)


def _reversed(array: Array) -> Array:
    backwards = (slice(None, None, -1),) * array.ndim
    return np.array(array[backwards], order="C")[backwards] if array.ndim else np.array(array)


def _read_only(array: Array) -> Array:
    view = aligned(array, 64)
    view.flags.writeable = False
    return view


def _swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder(">"))


def _plain(array: Array) -> Array:
    return np.array(array, order="C")


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "as NumPy makes them": _plain,
    "at a page's start": _page,
    "at a cache line's start": _cache_line,
    "in Fortran order": _fortran,
    "with channels last in memory": _channels_last,
    "with gaps": _every_other,
    "with negative strides": _reversed,
    "read-only": _read_only,
    "with the other byte order": _swapped,
}
"""Functions that copy an array into a memory layout, by its name."""
REFUSABLE = "with the other byte order"
"""The layout that a backend may refuse, but must not mistake for the usual one."""
