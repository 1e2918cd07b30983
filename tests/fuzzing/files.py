"""Inputs that are one file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from random import Random

from . import mutations, nasty
from .base import FOREIGN, Fuzzer


class FileFuzzer(Fuzzer):
    """``SUFFIXES`` name the file's format, ``valid`` are contents, and ``specials`` contents that are tried as they
    are.
    """

    SUFFIXES: tuple[str, ...] = (".json",)
    valid: tuple[bytes, ...] = ()
    specials: tuple[bytes, ...] = ()

    def plain(self, folder: Path) -> bool:
        (folder / f"input{self.SUFFIXES[0]}").write_bytes(self.valid[0])
        return True

    def make(self, random: Random, folder: Path) -> None:
        (folder / FOREIGN).write_text("mine")
        self.lay(random, folder / f"input{random.choice(self.SUFFIXES)}")

    def lay(self, random: Random, path: Path) -> None:
        """Put a hostile file at ``path``."""
        if random.random() < 0.005:
            nasty.put(random, path)
        elif self.specials and random.random() < 0.01:
            path.write_bytes(random.choice(self.specials))
        else:
            path.write_bytes(self.mutant(random, random.choice(self.valid)))

    def mutant(self, random: Random, data: bytes) -> bytes:
        """Return valid ``data``, spoilt."""
        chance = random.random()
        if chance < 0.05:
            return mutations.noise(random, data)
        return mutations.bytewise(random, data) if chance < 0.4 else self.structured(random, data)

    def structured(self, random: Random, data: bytes) -> bytes:
        """Return ``data`` with other values in it, in the same format."""
        return mutations.to_json(mutations.treewise(random, json.loads(data)), random.choice((None, 1)))

    def path(self, folder: Path) -> Path:
        """Return the path of the file in ``folder``, which is known by its name."""
        names = [folder / f"input{suffix}" for suffix in self.SUFFIXES]
        return next((name for name in names if name.is_symlink() or name.exists()), names[0])


def toml_mutant(random: Random, data: bytes) -> bytes:
    """Return a TOML document with other values in it."""
    return mutations.to_toml(mutations.treewise(random, tomllib.loads(data.decode())))
