"""Pictures as data: the surest mistakes of a run, and the filters of its first convolution before and after."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.blocks import Head
from ...core.errors import VGGError
from ...core.files import cache, read_object
from ...core.init import init
from ...core.params import load_params
from ...core.spec import Spec

MISTAKES = 8
"""The number of mistakes that a page shows per backend."""
FILTERS = 32
"""The number of filters that a page shows."""
ACROSS = 8
"""The number of filters in a row."""
SCALE = 3
"""The side of a weight in pixels, and the gap between filters."""
KINDS = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels of a picture -> the number by which PNG calls such pixels."""
Pixels = NDArray[np.uint8]


class Mistake(NamedTuple):
    """A wrong prediction: its image as a ``data:`` address, and what was said of it."""

    image: str
    label: str
    predicted: str
    probability: float


def png(pixels: Pixels) -> str:
    """Return uint8 pixels (H, W, channels) as the ``data:`` address of a PNG: grey, grey and alpha, RGB, or RGBA."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, KINDS[channels], 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    for name, data in chunks:
        file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_set(recipe: Mapping[str, Any], runs: Mapping[str, Path]) -> tuple[NDArray[Any], NDArray[Any], Any] | None:
    """Return (images, labels, names of the classes) of the test set, or None if it is not on this machine.

    Nothing is downloaded.
    """
    from ...training import data

    name = recipe.get("dataset")
    if name not in data.DATASETS:
        return None
    for folder in _folders(str(name), runs) if name in data.IN_FILES else (None,):
        try:
            loaded = data.load(name, folder, lambda _: None)
        except VGGError:
            continue
        return loaded.test_images, loaded.test_labels, loaded.class_names
    return None


def _folders(name: str, runs: Mapping[str, Path]) -> list[str]:
    """Return where the files of a dataset may be: the folders that ``runs`` name, that of ``VGG_DATA``, the cache."""
    folders = {_folder(run) for run in runs.values()} - {None}
    return [*sorted(map(str, folders)), *filter(None, [os.environ.get("VGG_DATA")]), str(cache() / name)]


def _folder(run: Path) -> Any:
    try:
        return read_object(run / "run.json").get("data")
    except VGGError:
        return None


def mistakes(evaluation: Mapping[str, Any], tests: tuple[NDArray[Any], NDArray[Any], Any]) -> list[Mistake] | None:
    """Return the surest mistakes of an evaluation, or None when it has none or they are not of these test images."""
    images, labels, names = tests
    entries = [entry for entry in evaluation.get("mistakes", ()) if _is_of(entry, labels, names)]
    if not entries or len(entries) < len(evaluation["mistakes"]):
        return None
    return [
        Mistake(png(_seen(images[e["image"]])), str(e["label"]), str(e["predicted"]), float(e["probability"]))
        for e in entries[:MISTAKES]
    ]


def _is_of(entry: Any, labels: NDArray[Any], names: Any) -> bool:
    """Return whether an entry names an image of the test set, with its label and a share as its probability."""
    if not isinstance(entry, dict) or not {"image", "label", "predicted", "probability"} <= entry.keys():
        return False
    index, share = entry["image"], entry["probability"]
    inside = type(index) is int and 0 <= index < len(labels) and type(share) in (int, float) and 0 <= share <= 1
    return inside and names[labels[index]] == entry["label"]


def _seen(image: NDArray[Any]) -> Pixels:
    """Return an image (C, H, W) as pixels."""
    return image.transpose(1, 2, 0)[..., : 3 if len(image) > 2 else 1]


def initial_filters(spec: Spec, recipe: Mapping[str, Any]) -> NDArray[Any] | None:
    """Return the first convolution's weight as a run of ``recipe`` began with it, or None if it cannot be known."""
    first = replace(spec.blocks[0], convs=spec.blocks[0].convs[:1], pool=None)
    small = replace(spec, blocks=(first,), head=Head(hidden=(), global_pool=True))
    if recipe.get("init_from"):
        return None
    try:
        return init(small, recipe["seed"], recipe["init"])["block1.conv1.weight"]
    except (VGGError, LookupError, TypeError):
        return None


def trained_filters(run: Path, spec: Spec) -> NDArray[Any] | None:
    """Return the first convolution's weight after training, or None when the run has no readable weights."""
    try:
        weight = load_params(run / "weights.safetensors")["block1.conv1.weight"]
    except (VGGError, LookupError):
        return None
    conv = spec.blocks[0].convs[0]
    return weight if weight.shape == (conv.channels, spec.input_shape[0], conv.kernel, conv.kernel) else None


def filters(weight: NDArray[Any], largest: float) -> str:
    """Return filters (out, in, k, k) as one PNG, eight in a row: grey is 0, white is ``largest``, black minus that."""
    shown = weight[:FILTERS] if weight.shape[1] == 3 else weight[:FILTERS].mean(axis=1, keepdims=True)
    levels = np.rint(127.5 + 127.5 * np.clip(np.nan_to_num(shown) / (largest or 1), -1, 1)).astype(np.uint8)
    count, channels, side, _ = levels.shape
    levels, side = levels.repeat(SCALE, axis=2).repeat(SCALE, axis=3), side * SCALE
    step, down = side + SCALE, -(-count // ACROSS)
    sheet = np.zeros((down * step - SCALE, ACROSS * step - SCALE, channels + 1), np.uint8)
    for i, one in enumerate(levels):
        y, x = (i // ACROSS) * step, (i % ACROSS) * step
        sheet[y : y + side, x : x + side, :-1] = one.transpose(1, 2, 0)
        sheet[y : y + side, x : x + side, -1] = 255
    return png(sheet)
