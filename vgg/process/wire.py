"""Messages between client and worker: a line of JSON each, followed by arrays as safetensors; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Arrays = dict[str, NDArray[Any]]
MASK = "mask/"
"""The prefix of a dropout layer's name in the arrays of a step."""


def send(stream: BinaryIO, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message and flush it."""
    body = save({name: np.asarray(array, order="C") for name, array in arrays.items()}) if arrays else b""
    stream.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n")
    stream.write(body)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], Arrays]:
    """Read one message. Raises ``EOFError`` when the stream ends, before the message or within it."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    count = head.pop("bytes")
    body = stream.read(count)
    if len(body) < count:
        raise EOFError
    return head, load(body) if body else {}
