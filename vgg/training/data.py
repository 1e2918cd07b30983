"""Datasets as plain NumPy arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import unknown
from ..core.philox import raw
from . import fashion_mnist
from .batches import order
from .fashion_mnist import Say
from .idx import Images, Labels, labelled

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


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


def _digits(_folder: str | Path | None, _say: Say) -> Dataset:
    """Split: the first 1440 (45 batches of 32) of ``order(1797, 0, 0)`` are for training, the others for the test."""
    images, labels = labelled(Path(__file__).with_name("digits"), "", Path.read_bytes)
    # The files keep the original 0..16; (255 v + 8) // 16 is 255 v / 16 rounded.
    images = ((images.astype(np.uint16) * 255 + 8) // 16).astype(np.uint8)
    train, test = np.split(order(len(images), seed=0, epoch=0), [1440])
    return Dataset("digits", images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def _fashion_mnist(folder: str | Path | None, say: Say) -> Dataset:
    train, test = fashion_mnist.read(folder, say)
    return Dataset("fashion-mnist", *train, *test, _FASHION)


def _synthetic(_folder: str | Path | None, _say: Say) -> Dataset:
    """Half a pattern of its class, half noise. Patterns are in 4x4 tiles, so that they outlive a pool or two."""
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
