"""Files of images and labels: gzipped IDX."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from random import Random

from vgg.training import data
from vgg.training.idx import labelled

from . import mutations, nasty
from .base import FOREIGN
from .files import FileFuzzer

NAMES = ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
COUNTS = (0, 1, 2, 3, 255, 2**16, 2**31, 2**32 - 1)


def _idx(*shape: int) -> bytes:
    header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(extent.to_bytes(4, "big") for extent in shape)
    return header + bytes(i % 10 for i in range(shape[0] * (35 if len(shape) > 1 else 1)))


VALID = dict(zip(NAMES, (_idx(6, 7, 5), _idx(6)), strict=True))


class Fuzz(FileFuzzer):
    """What is inside is changed before it is compressed, or the compressed bytes are."""

    def structured(self, random: Random, data: bytes) -> bytes:
        if random.random() < 0.5:
            place = 4 * random.randrange(4)
            data = data[:place] + random.choice(COUNTS).to_bytes(4, "big") + data[place + 4 :]
        else:
            data = mutations.bytewise(random, data)
        packed = gzip.compress(data, mtime=0)
        return packed * random.choice((1, 1, 1, 2)) + random.choice((b"", b"", b"\0", b"trailing"))

    def plain(self, folder: Path) -> bool:
        for name, content in VALID.items():
            (folder / name).write_bytes(gzip.compress(content))
        return True

    def make(self, random: Random, folder: Path) -> None:
        (folder / FOREIGN).write_text("mine")
        spoilt = random.choice((*NAMES, None))
        for name, content in VALID.items():
            whole = gzip.compress(content, mtime=0)
            if name == spoilt or not spoilt:
                raw = random.random() < 0.3
                whole = self.mutant(random, whole) if raw else self.structured(random, content)
            (folder / name).write_bytes(whole)

    def mutant(self, random: Random, data: bytes) -> bytes:
        return (mutations.noise if random.random() < 0.1 else mutations.bytewise)(random, data)

    def read(self, folder: Path) -> None:
        labelled(folder, "", Path.read_bytes)


class Folder(Fuzz):
    """The folder that ``--data`` names, in which files are other than Fashion-MNIST's, or no files."""

    def plain(self, folder: Path) -> bool:
        return False  # the dataset is not part of this project

    def make(self, random: Random, folder: Path) -> None:
        for name in self._names(random):
            if random.random() < 0.5:
                nasty.put(random, folder / name)
            else:
                (folder / name).write_bytes(self.structured(random, random.choice(list(VALID.values()))))

    def _names(self, random: Random) -> Iterator[str]:
        names = [f"{part}-{name}" for part in ("train", "t10k") for name in NAMES]
        yield from random.sample(names, random.randrange(1, 5))
        if random.random() < 0.1:
            yield "fashion-mnist"

    def read(self, folder: Path) -> None:
        data.load("fashion-mnist", folder)
