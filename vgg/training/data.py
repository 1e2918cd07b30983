"""Datasets as plain NumPy arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import mismatch, unknown
from ..core.philox import raw
from . import fashion_mnist
from .batches import order
from .download import Say
from .idx import Images, Labels, labelled

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: images uint8 (N, channels, height, width), 0 to 255; labels int64 (N,), indices of ``class_names``."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """The number of colour channels of an image; 1 means grey."""
        return int(self.train_images.shape[1])


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def load(name: str, folder: str | Path | None = None, say: Say = _to_stderr) -> Dataset:
    """Load the dataset of this name.

    ``say`` is called with a message after every download. Raises ``VGGError`` for an unknown name, for a ``folder`` of
    a dataset that is not read from files, and when the dataset is not complete or cannot be read.

    ``digits``: 1x8x8, 1440 images for training and 357 for the test, part of this package. Alpaydin & Kaynak (1998), as
    in scikit-learn.

    ``fashion-mnist``: 1x28x28, 60000 and 10000 images. Xiao et al. (2017), arXiv:1708.07747. If ``folder`` or
    ``VGG_DATA`` is set, its four files are read from there (or from a subfolder ``fashion-mnist``) and never
    downloaded. Otherwise they are read from the cache, ``$XDG_CACHE_HOME/vgg/fashion-mnist`` or
    ``~/.cache/vgg/fashion-mnist``, and downloaded into it from a mirror.

    ``synthetic``: 3x24x20, 512 and 128 images, seven classes; random, but a network can learn it.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    if folder is not None and name not in IN_FILES:
        raise mismatch("--data", folder, f"no folder with {name}, which needs no files", "leave it out")
    return DATASETS[name](folder, say)


def dataset_names() -> tuple[str, ...]:
    """Return every name that ``load`` accepts."""
    return tuple(DATASETS)


def _digits(_folder: str | Path | None, _say: Say) -> Dataset:
    """Load ``digits``. The first 1440 images of ``order(1797, 0, 0)`` are for training (45 batches of 32)."""
    images, labels = labelled(Path(__file__).with_name("digits"), "", Path.read_bytes)
    # The files hold the original values 0..16; (255 v + 8) // 16 is 255 v / 16, rounded.
    images = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)
    train, test = np.split(order(len(images), seed=0, epoch=0), [1440])
    return Dataset("digits", images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def _fashion_mnist(folder: str | Path | None, say: Say) -> Dataset:
    train, test = fashion_mnist.read(folder, say)
    return Dataset("fashion-mnist", *train, *test, _FASHION)


def _synthetic(_folder: str | Path | None, _say: Say) -> Dataset:
    """Make images that are half noise, half the pattern of their class in 4x4 tiles, which survive a pool or two."""
    tiles = raw((7, 3, 6, 5), "synthetic", "patterns") >> np.uint64(56)
    noise = raw((512 + 128, 3, 24, 20), "synthetic", "noise") >> np.uint64(56)
    labels = (raw((512 + 128,), "synthetic", "labels") % np.uint64(7)).astype(np.int64)
    patterns = tiles.repeat(4, axis=2).repeat(4, axis=3)
    images = ((patterns[labels] + noise) >> np.uint64(1)).astype(np.uint8)
    return Dataset("synthetic", images[:512], labels[:512], images[512:], labels[512:], tuple("0123456"))


DATASETS: dict[str, Callable[[str | Path | None, Say], Dataset]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "synthetic": _synthetic,
}
"""Dataset name -> its loader, which takes the folder and ``say`` of ``load``."""
IN_FILES = ("fashion-mnist",)
"""The datasets that are read from files in a folder."""
