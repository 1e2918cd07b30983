"""Messages between client and worker: a line of JSON each, followed by arrays as safetensors; nothing is pickled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ..core.errors import mismatch

Arrays = dict[str, NDArray[Any]]
MASK = "mask/"
"""The prefix of a dropout layer's name in the arrays of a step."""
LONGEST = 1 << 24
"""The greatest length of the line of JSON, in bytes."""


def send(stream: BinaryIO, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message and flush it."""
    body = save({name: np.asarray(array, order="C") for name, array in arrays.items()}) if arrays else b""
    stream.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n")
    stream.write(body)
    stream.flush()


def receive(stream: BinaryIO, most: Callable[[], float] = lambda: math.inf) -> tuple[dict[str, Any], Arrays]:
    """Read one message, whose arrays may have ``most()`` bytes.

    Raises ``EOFError`` when the stream ends, before the message or within it, and another exception when it contains
    anything else than messages.
    """
    line = stream.readline(LONGEST + 1)
    if len(line) > LONGEST:
        raise mismatch("head", f"more than {LONGEST:,} bytes", "a line of JSON")
    if not line.endswith(b"\n"):
        raise EOFError
    head, count = _head(line)
    if count > most():
        raise mismatch("arrays", f"{count:,} bytes", f"at most {most():,}")
    body = stream.read(count)
    if len(body) < count:
        raise EOFError
    return head, load(body) if body else {}


def _head(line: bytes) -> tuple[dict[str, Any], int]:
    """Return a message's head, and the number of bytes that follow it."""
    head = json.loads(line)
    if not isinstance(head, dict):
        raise mismatch("head", type(head).__name__, "a JSON object")
    count = head.pop("bytes", None)
    if type(count) is not int or count < 0:
        raise mismatch("bytes", type(count).__name__ if type(count) is not int else count, "a number of bytes")
    return head, count
