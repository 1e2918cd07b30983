"""Faults that are planted, to see that the harness notices them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vgg import VGGError

from .base import FOREIGN
from .specs import Fuzz


class Specs(Fuzz):
    """Specs, of which none is valid."""

    def plain(self, folder: Path) -> bool:
        return False


class Raises(Specs):
    def read(self, folder: Path) -> None:
        raise ValueError("a reader that forgot to translate this")


class Hangs(Specs):
    def read(self, folder: Path) -> None:
        while True:
            pass


class Waits(Specs):
    def read(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        (folder / "pipe").read_bytes()


class Deletes(Specs):
    def read(self, folder: Path) -> None:
        (folder / FOREIGN).unlink()


class Changes(Specs):
    def read(self, folder: Path) -> None:
        (folder / FOREIGN).write_text("ours")


class Hoards(Specs):
    def read(self, folder: Path) -> None:
        bytearray(3 << 30)


class Dies(Specs):
    def read(self, folder: Path) -> None:
        os.abort()


class Babbles(Specs):
    def read(self, folder: Path) -> None:
        raise VGGError("too long " * 1000)


class Leaves(Specs):
    def read(self, folder: Path) -> None:
        tempfile.mkdtemp()


class Escapes(Specs):
    def read(self, folder: Path) -> None:
        (folder.parent / "outside").touch()


class Refuses(Fuzz):
    def read(self, folder: Path) -> None:
        raise VGGError("not even this")
