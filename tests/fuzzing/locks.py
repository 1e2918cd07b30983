"""Lock files that plug-ins name, of which ``vgg list`` shows the versions. No uv runs: it is not ours."""

from __future__ import annotations

from pathlib import Path
from random import Random

import uv

from vgg.process import environments
from vgg.process.registry import Entry

from . import mutations
from .files import FileFuzzer

LOCKS = Path(environments.__file__).parent / "envs"


class Fuzz(FileFuzzer):
    SUFFIXES = (".txt",)
    valid = tuple((LOCKS / name).read_bytes() for name in ("mxnet.txt", "torch.txt", "jax-gpu.txt"))
    specials = (b"mine==\n", b"mine==1==2\n", b"mine==1 ; x\n", b"mine==[/x]\x1b[2J\n", b"mine==" + b"1" * 10**6)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        uv.find_uv_bin = lambda: "/bin/false"

    def structured(self, random: Random, data: bytes) -> bytes:
        return mutations.bytewise(random, data)

    def read(self, folder: Path) -> None:
        for name in ("mine", "mxnet", "torch", "jax"):
            environments.home(Entry(name, "vgg_oracle", lock=self.path(folder)))
