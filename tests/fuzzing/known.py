"""Files of known failures, read by ``vgg check --known``."""

from __future__ import annotations

from pathlib import Path
from random import Random

from vgg.conformance import known

from .files import FileFuzzer, toml_mutant

CHECKS = ("forward float32", "forward float64", "step float32", "step float64")
CELLS = [(backend, check) for backend in ("oracle", "mine") for check in CHECKS]
VALID = b"""
[[known]]
id = "forward *64"
error = [1e-8, 1e-6]
reason = "our LRN computes in float32"
link = "https://example.org/issues/1"
backend = "mine"

[[known]]
id = "step float32"
match = "no kernel for float(64|32)"
reason = "there is no kernel"
link = "https://example.org/issues/2"
"""
HEADS = b'id = "forward *64"\nreason = "r"\nlink = "l"\n'


class Fuzz(FileFuzzer):
    SUFFIXES = (".toml",)
    valid = (VALID,)
    specials = (
        b'[[known]]\nmatch = "(x+x+)+y"\n' + HEADS,
        b'[[known]]\nmatch = "(.|.)*error(.*)*$ "\n' + HEADS,
        b'[[known]]\nmatch = "x{100000}{100000}"\n' + HEADS,
        b'[[known]]\nmatch = "' + b"(" * 5000 + b'"\n' + HEADS,
        b"[[known]]\n" * 10_000,
        b"known." * 20_000 + b"x = 1",
    )

    def structured(self, random: Random, data: bytes) -> bytes:
        return toml_mutant(random, data)

    def read(self, folder: Path) -> None:
        for entry in known.read(str(self.path(folder)), CELLS).values():
            entry.foretells(1e-7, "error 1.0e-07 is over its limit 1.0e-08")
