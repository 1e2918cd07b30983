"""Specs in JSON and TOML, read by ``vgg show``."""

from __future__ import annotations

from pathlib import Path
from random import Random

from vgg import Head, Spec, arch, expand, totals
from vgg.runs.options import spec_of

from .base import command
from .files import FileFuzzer, toml_mutant

SPECS = (
    Spec.from_blocks(((1, 4), (2, 6)), input_shape=(1, 8, 8), classes=10, head=Head((8,)), name="tiny"),
    Spec.from_blocks(((1, 3),), input_shape=(2, 7, 5), classes=3, head=Head((), global_pool=True), batch_norm=True),
    arch("alexnet"),
    arch("vgg11_lrn"),
)
SPECIALS = (
    b"blocks = [[1000000000, 64]]",
    b"blocks = [[1, 1000000000000]]",
    b'{"blocks": [' + b"[1, 4]," * 100_000 + b"[1, 4]]}",
    b'{"blocks": [[1, 4]], "classes": ' + b"9" * 5000 + b"}",
    b".".join([b"a"] * 50_000) + b" = 1",
    b"[" + b".".join([b"a"] * 50_000) + b"]\nb = 1",
    b"a = " + b"[" * 50_000,
    b"a = " + b"{b = " * 5_000 + b"1" + b"}" * 5_000,
    b'{"blocks": [[1, 4]], "head": {"hidden": [' + b"1," * 200_000 + b"1]}}",
    b'{"blocks": [[1, 4]], "input_shape": [1, 1000000000000, 1000000000000]}',
    b'{"blocks": [[1, 4]], "name": "\\u001b[2J[/x]\\ud800"}',
    b'{"blocks": [[1, 4]], "name": "' + b"n" * 1_000_000 + b'"}',
    b"\xef\xbb\xbfblocks = [[1, 4]]\ninput_shape = [1, 8, 8]",
)


class Fuzz(FileFuzzer):
    """Few are read by the whole command, which takes longer than what it reads."""

    SUFFIXES = (".json", ".toml", ".TOML", ".JSON", ".toml")
    valid = tuple(spec.to_json().encode() for spec in SPECS) + tuple(spec.to_toml().encode() for spec in SPECS)
    specials = SPECIALS
    options: tuple[str, ...] | None = None

    def structured(self, random: Random, data: bytes) -> bytes:
        return super().structured(random, data) if data.startswith(b"{") else toml_mutant(random, data)

    def plain(self, folder: Path) -> bool:
        self.options = ("--json",)
        return super().plain(folder)

    def make(self, random: Random, folder: Path) -> None:
        super().make(random, folder)
        self.options = random.choice((*[None] * 12, ("--json",), ("--json", "--narrow", "2", "--classes", "5"), ()))

    def read(self, folder: Path) -> None:
        path = str(self.path(folder))
        if self.options is None:
            totals(expand(spec_of(path, classes=7)))
        else:
            command("show", path, *self.options)
