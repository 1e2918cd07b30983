"""IDX files, the format of MNIST and of later datasets like it."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import mismatch

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def read_idx(data: bytes, where: str) -> Images:
    """Return the uint8 array, of one to three axes, in the bytes of a gzipped IDX file.

    Raises ``VGGError``, in which ``where`` names the file, when the bytes are not such a file. The format is: two zero
    bytes, the type, the number of axes, each extent as a big-endian uint32, the values. See "The IDX file format",
    LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist/.
    """
    try:
        raw = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise mismatch(where, f"'{error}'", "a whole gzip file", "fetch it again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or not 1 <= raw[3] <= 3:
        raise mismatch(where, f"magic number {raw[:4].hex() or 'of no bytes'}", "IDX of uint8, 00000801 to 00000803")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[low : low + 4], "big") for low in range(4, start, 4))
    if not len(raw) - start == math.prod(shape) > 0:
        raise mismatch(where, f"{len(raw)} bytes", f"{start} of header and {math.prod(shape)} > 0 for shape {shape}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()  # torch warns when it is not writable


def labelled(folder: Path, prefix: str, read: Callable[[Path], bytes]) -> tuple[Images, Labels]:
    """Return images uint8 (N, 1, height, width) and labels int64 (N,), 0 to 9, from one pair of IDX files.

    ``read`` returns the bytes of a file. Raises ``VGGError`` when the files do not hold such arrays.
    """
    paths = [folder / f"{prefix}{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    images, labels = (read_idx(read(path), str(path)) for path in paths)
    for array, axes, path in ((images, 3, paths[0]), (labels, 1, paths[1])):
        if array.ndim != axes:
            raise mismatch(str(path), f"shape {array.shape}", f"{axes} axes")
    if len(images) != len(labels):
        raise mismatch(str(paths[1]), f"{len(labels)} labels", f"{len(images)}, one for each image")
    if labels.max() > 9:
        raise mismatch(str(paths[1]), f"label {labels.max()}", "0 to 9")
    return images[:, None], labels.astype(np.int64)
