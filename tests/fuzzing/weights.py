"""Safetensors files of weights, as ``--init-from`` and ``vgg.load_params`` read them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from safetensors.numpy import save

import vgg
from vgg import Recipe
from vgg.core.params import load_spec
from vgg.training.checkpoints import initial

from . import mutations
from .base import UnsoundError
from .files import FileFuzzer
from .specs import SPECIALS, SPECS

SPEC = SPECS[0]
DTYPES = (*("BF16", "F8_E4M3", "F8_E5M2", "I64", "BOOL", "U8", "F16", "F64", "I32", "C64", "F4", "", "f32"), 7, None)
CASTS = (("I64", "i8"), ("BOOL", "?"), ("U8", "u1"), ("F16", "f2"), ("BF16", "u2"), ("F32", "f4"))
SIZES = (0, 1, 7, 2**20, 2**31, 2**40, 2**63, 2**64 - 1)


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return (header, arrays) of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))  # safetensors writes them in any order
    return header, data[end:]


def joined(header: bytes, arrays: bytes, length: int | None = None) -> bytes:
    """Return the safetensors file of these parts, which claims a header of ``length`` bytes."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + arrays


def mutant(random: Random, data: bytes) -> bytes:
    """Return a safetensors file with another header, or other arrays."""
    header, arrays = parts(data)
    match random.randrange(6):
        case 0:
            return joined(mutations.to_json(header), mutations.bytewise(random, arrays))
        case 1:
            return joined(mutations.to_json(header), arrays, random.choice(SIZES))
        case 2:
            name = random.choice([name for name in header if name != "__metadata__"])
            header[name]["dtype"] = random.choice(DTYPES)
        case 3 | 4 if header.get("__metadata__"):
            _change_metadata(random, header["__metadata__"])
        case _:
            header = mutations.treewise(random, header)
    return joined(mutations.to_json(header), arrays)


def recast(random: Random, data: bytes) -> bytes:
    """Return a sound file whose arrays have another dtype or values that no training gives."""
    header, arrays = parts(data)
    kind, dtype = random.choice(CASTS)
    value, end = random.choice((0, 1, 7)), 0
    whole = np.full(len(arrays) // 4, value, dtype)
    if kind == "F32":
        whole[random.randrange(len(whole))] = random.choice((np.nan, np.inf, -np.inf, 3e38))
    for about in (about for name, about in header.items() if name != "__metadata__"):
        start, end = end, end + int(np.prod(about["shape"])) * whole.itemsize
        about |= {"dtype": kind, "data_offsets": [start, end]}
    return joined(json.dumps(header).encode(), whole.tobytes())


def _change_metadata(random: Random, metadata: dict[str, str]) -> None:
    key = random.choice(list(metadata))
    if key == "spec" and random.random() < 0.3:
        metadata[key] = random.choice(SPECIALS).decode()
    elif random.random() < 0.7:
        try:
            metadata[key] = mutations.to_json(mutations.treewise(random, json.loads(metadata[key]))).decode()
        except ValueError:
            metadata[key] = "0"
    else:
        del metadata[key]


class Fuzz(FileFuzzer):
    SUFFIXES = (".safetensors",)

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        params = vgg.init(SPEC, 0, "xavier_uniform", "float32")
        metadata = {"spec": SPEC.to_json()}
        state = {**params, **{f"velocity/{name}": array for name, array in params.items()}, "step": np.array(7)}
        vgg.save_params(home / "w.safetensors", params, SPEC)
        files = (home / "w.safetensors").read_bytes(), save(state, metadata={**metadata, "place": "[1, 2]"})
        self.valid = tuple(joined(json.dumps(header).encode(), arrays) for header, arrays in map(parts, files))

    def structured(self, random: Random, data: bytes) -> bytes:
        return (recast if random.random() < 0.2 else mutant)(random, data)

    def plain(self, folder: Path) -> bool:
        self.way = 1
        return super().plain(folder)

    def make(self, random: Random, folder: Path) -> None:
        super().make(random, folder)
        self.way = random.randrange(3)

    def read(self, folder: Path) -> None:
        path = self.path(folder)
        if self.way == 0:
            load_spec(path)
        plan = dataclasses.replace(Recipe(), init_from=str(path))
        arrays = vgg.load_params(path) if self.way < 2 else initial(SPEC, plan)
        for name, array in arrays.items():
            if array.dtype.kind != "f":
                raise UnsoundError(f"an array of {array.dtype} passed as weights: {name}")
