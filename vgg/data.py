"""Datasets as plain NumPy arrays, and the batch order that is the same in every framework.

Everything random here comes from raw Philox bits (a stream NumPy keeps fixed) and integer operations: the same split,
the same synthetic images and the same batches under every NumPy and on every machine.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import VGGError, mismatch, unknown
from .params import stream, write_atomically

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Say = Callable[[str], None]

FASHION_MNIST_MIRRORS: tuple[str, ...] = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""The data set's public homes, tried in this order. Plain HTTP will do: no file is used before its MD5 is checked."""
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
"""Sums of the four files, as published in the README of github.com/zalandoresearch/fashion-mnist."""
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_WAYS_OUT = "name a folder that holds it with --data DIR or VGG_DATA, or take --dataset digits"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (N, channels, height, width), 0 to 255; labels int64 (N,), indices into ``class_names``."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Colour channels of an image: 1 is grey."""
        return int(self.train_images.shape[1])


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def load(name: str, folder: str | Path | None = None, say: Say = _to_stderr) -> Dataset:
    """The dataset of that name; ``say`` is told of every download. ``VGGError`` where it cannot be had whole.

    ``digits``: 1x8x8, 1440 train and 357 test, embedded. Alpaydin & Kaynak (1998), as scikit-learn carries it.

    ``fashion-mnist``: 1x28x28, 60000 and 10000. Xiao et al. (2017), arXiv:1708.07747. Its four files are read from
    ``folder`` or ``VGG_DATA`` (or a subfolder ``fashion-mnist`` of it), never downloaded if either is set; else from
    the cache, ``$XDG_CACHE_HOME/vgg/fashion-mnist`` or ``~/.cache/vgg/fashion-mnist``, which the mirrors fill.

    ``synthetic``: 3x24x20, 512 and 128, seven classes; random, yet learnable.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name](folder, say)


def dataset_names() -> tuple[str, ...]:
    """Every name that ``load`` knows."""
    return tuple(DATASETS)


def order(count: int, seed: int, epoch: int) -> Labels:
    """The neutral order of an epoch's examples: a permutation of 0..count-1 keyed by seed and epoch, int64 (count,)."""
    for what, value in (("count", count), ("seed", seed), ("epoch", epoch)):
        _at_least(what, value, 0)
    return np.argsort(_raw((count,), seed, epoch), kind="stable").astype(np.int64)


def batches(count: int, batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[Labels]:
    """Slices of ``order``, int64 (batch_size,), the last one shorter, from batch ``start`` (counted from 0) on."""
    _at_least("batch_size", batch_size, 1)
    _at_least("start", start, 0)
    examples = order(count, seed, epoch)
    return (examples[low : low + batch_size] for low in range(start * batch_size, count, batch_size))


def read_idx(data: bytes, where: str) -> Images:
    """The uint8 array, one to three axes, in the bytes of a gzipped IDX file; ``where`` names them in a ``VGGError``.

    Two zero bytes, the type, the number of axes, each extent as a big-endian uint32, the values: "The IDX file format",
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
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()  # writable, or torch warns


def _labelled(folder: Path, prefix: str, read: Callable[[Path], bytes]) -> tuple[Images, Labels]:
    """Images (N, 1, h, w) and their labels, ten classes, from one pair of IDX files."""
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


def _digits(_folder: str | Path | None, _say: Say) -> Dataset:
    """Split: the first 1440 (45 batches of 32) of ``order(1797, 0, 0)`` are for training, the others for the test."""
    images, labels = _labelled(Path(__file__).with_name("digits"), "", Path.read_bytes)
    # The files keep the original 0..16; (255 v + 8) // 16 is 255 v / 16 rounded.
    images = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)
    train, test = np.split(order(len(images), seed=0, epoch=0), [1440])
    return Dataset("digits", images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def _fashion_mnist(folder: str | Path | None, say: Say) -> Dataset:
    given = folder or os.environ.get("VGG_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vgg", "fashion-mnist")
    home = _holding(Path(given).expanduser()) if given else cache.expanduser()

    def read(path: Path) -> bytes:
        return _read_checked(path) if given or _exists(path) else _download(path, say)

    train, test = (_labelled(home, prefix, read) for prefix in ("train-", "t10k-"))
    return Dataset("fashion-mnist", *train, *test, _FASHION)


def _synthetic(_folder: str | Path | None, _say: Say) -> Dataset:
    """Half a pattern of its class, half noise. Patterns are in 4x4 tiles, so that they outlive a pool or two."""
    tiles = _raw((7, 3, 6, 5), "synthetic", "patterns") >> np.uint64(56)
    noise = _raw((512 + 128, 3, 24, 20), "synthetic", "noise") >> np.uint64(56)
    labels = (_raw((512 + 128,), "synthetic", "labels") % np.uint64(7)).astype(np.int64)
    patterns = tiles.repeat(4, axis=2).repeat(4, axis=3)
    images = ((patterns[labels] + noise) >> np.uint64(1)).astype(np.uint8)
    return Dataset("synthetic", images[:512], labels[:512], images[512:], labels[512:], tuple("0123456"))


DATASETS: dict[str, Callable[[str | Path | None, Say], Dataset]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "synthetic": _synthetic,
}
"""Dataset name -> its loader, which takes the folder and ``say`` of ``load``."""


def _raw(shape: tuple[int, ...], *key: int | str) -> NDArray[np.uint64]:
    """Raw 64-bit numbers from the stream of that key."""
    raw: NDArray[np.uint64] = stream(*key).random_raw(math.prod(shape))
    return raw.reshape(shape)


def _at_least(what: str, value: int, low: int) -> None:
    if not isinstance(value, int) or value < low:
        raise mismatch(what, repr(value), f"an integer >= {low}")


def _holding(folder: Path) -> Path:
    """``folder``, or its subfolder ``fashion-mnist`` where only that one holds any of the four files."""
    places = (folder, folder / "fashion-mnist")
    return next((p for p in places if any(_exists(p / name) for name in FASHION_MNIST_MD5)), folder)


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises where a folder may not be looked into


def _read_checked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise mismatch(str(path), error.strerror, "a file of Fashion-MNIST", _WAYS_OUT) from error
    return _checked(data, path.name, str(path))


def _checked(data: bytes, name: str, where: str) -> bytes:
    got, wanted = hashlib.md5(data, usedforsecurity=False).hexdigest(), FASHION_MNIST_MD5[name]
    if got != wanted:
        raise mismatch(where, f"MD5 {got}", f"MD5 {wanted}", "delete it and fetch it again")
    return data


def _download(path: Path, say: Say) -> bytes:
    """The file of that name from the first mirror that gives it whole, kept as ``path``."""
    tried = []
    for url in (mirror + path.name for mirror in FASHION_MNIST_MIRRORS):
        try:
            data = _get(url, path.name)
        except VGGError as error:
            tried.append(str(error))
            continue
        _keep(path, data)
        say(f"downloaded {path.name} from {url}")
        return data
    raise mismatch(path.name, f"no download ({', '.join(tried)})", "Fashion-MNIST from one of its mirrors", _WAYS_OUT)


def _get(url: str, name: str) -> bytes:
    from http.client import HTTPException  # slow to import, and most loads need no network
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as response:  # noqa: S310  # the mirrors above, no URL of a user
            return _checked(response.read(), name, url)
    except (OSError, HTTPException) as error:
        raise VGGError(f"{url}: {error}") from error


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise mismatch(str(path.parent), error.strerror, "a folder for the cache", "set XDG_CACHE_HOME") from error
    write_atomically(path, data)
