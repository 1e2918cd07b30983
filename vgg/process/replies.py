"""The messages that a client accepts from a worker: their types, names and sizes. Nothing else gets past it.

Like ``schema`` it belongs to the parent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from ..core.errors import VGGError, mismatch
from ..core.layers import expand, totals
from ..core.spec import Spec
from ..core.texts import printable, shortened
from .schema import RESULTS, Event, Failure, Result, Step, Stopped, Test, Validation
from .wire import Arrays

SIZE = 1 << 17
"""The greatest length of a result as JSON, except the names of a trace."""
DEPTH = 8
"""The greatest depth of a message."""
INTEGER = 1 << 63
"""Integers of a message are smaller than this."""
NAME = 200
"""The greatest length of an array's name."""
TRACEBACK = 20_000, 400
"""The numbers of characters and of lines of a worker's traceback that are kept."""
LOSSES = ("step", "loss_and_grads")
"""The jobs whose numbers may be NaN or infinite."""
ANY_NAMES = ("dump", "loss_and_grads", "state", "answers")
"""The jobs whose arrays may have any names, which others judge."""
LOGITS = ("forward", "evaluate", "answers")
"""The jobs that give an array ``logits``."""


class Limit:
    """The greatest number of bytes of the arrays in an answer. It follows from the networks and images that were sent.

    It allows for float64, and for twice as many arrays as there should be.
    """

    def __init__(self) -> None:
        self.params = self.activations = self.images = 1

    def widen(self, spec: Any, arrays: Mapping[str, Any]) -> None:
        """Allow for the network ``spec``, if it is one as a dict, and for the images in ``arrays``."""
        with suppress(VGGError):  # the worker refuses it
            sums = totals(expand(Spec.from_dict(spec))) if isinstance(spec, dict) else None
            self.params = max(self.params, sums.params if sums else 0)
            self.activations = max(self.activations, sums.activations if sums else 0)
        batches = (arrays[name] for name in ("x", "images") if np.ndim(arrays.get(name, 0)))
        self.images = max([self.images, *map(len, batches)])

    def of(self, job: str) -> int:
        """Return the limit for the answer to ``job``."""
        if job not in (*ANY_NAMES, *LOGITS, "trace"):
            return 0
        return (1 << 20) + 16 * (3 * self.params + self.images * self.activations)


def opened(job: str, head: Mapping[str, Any]) -> Result | Failure | Event:
    """Return what a message says, with texts that can be shown.

    Raises ``VGGError`` when it is not a message that a worker may send during ``job``.
    """
    clean = _clean(head, finite=job not in LOSSES)
    if "event" in clean:
        event: Event = _converted(clean, Event, "message")
        _check_event(job, event.event)
        return event
    message: Result | Failure = _converted(clean, Failure if "error" in clean else Result, "message")
    return message


def _check_event(job: str, event: dict[str, Any]) -> None:
    if job != "train":
        raise mismatch("message", "an event", "a result or an error", "only training has events")
    if event:
        kind = Step if "loss" in event else Validation if "validation_loss" in event else Test
        _converted(event, kind, "event")


def check_result(job: str, result: Any, arrays: Arrays) -> None:
    """Raise ``VGGError`` unless ``result`` and ``arrays`` have the types and names that ``job`` gives."""
    stopped = job == "train" and isinstance(result, dict) and "stopped" in result
    _converted(result, Stopped if stopped else RESULTS.get(job), "result")
    if job != "trace" and (size := len(json.dumps(result))) > SIZE:
        raise mismatch("result", f"{size:,} characters", f"at most {SIZE:,}")
    wanted = [*(result if job == "trace" else ()), *(["logits"] if job in LOGITS else ())]
    wanted += [name for name in arrays if job in ANY_NAMES and name not in wanted]
    if sorted(wanted) != sorted(arrays):
        raise mismatch("arrays", _listed(list(arrays)), _listed(wanted))
    for name, array in arrays.items():
        _check_array(name, array)


def recorded(job: str, result: Any) -> Any:
    """Return a result of ``job`` that a worker has written to a file, with texts that can be shown.

    Raises ``VGGError`` unless it is what the job gives.
    """
    message = opened(job, {"result": result})
    check_result(job, getattr(message, "result", None), {})
    return getattr(message, "result", None)


def _check_array(name: str, array: Any) -> None:
    if not name.isprintable() or len(name) > NAME:
        wanted = f"names of at most {NAME} characters that print"
        raise mismatch("arrays", f"the name {shortened(repr(name), NAME)}", wanted)
    if array.dtype.kind not in "fiub":
        raise mismatch(name, f"an array of {array.dtype}", "numbers")


def _listed(names: Sequence[str]) -> str:
    return shortened(", ".join(map(repr, names)), NAME) or "none"


def _converted(value: Any, kind: Any, what: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise VGGError(f"{what}: {shortened(str(error), NAME)}") from error


def _clean(value: Any, *, finite: bool, key: str = "", depth: int = 0) -> Any:
    """Return ``value`` with texts that can be shown. Raises ``VGGError`` for numbers and depths that cannot be."""
    if depth > DEPTH:
        raise mismatch("message", f"more than {DEPTH} levels", "fewer")
    if isinstance(value, str):
        text = printable(value, "\n\t" if key in ("error", "traceback", "result") else "")
        return shortened(text, *TRACEBACK) if key == "traceback" else shortened(text)
    if isinstance(value, list):
        return [_clean(item, finite=finite, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {_clean(k, finite=finite): _clean(v, finite=finite, key=k, depth=depth + 1) for k, v in value.items()}
    if isinstance(value, int) and abs(value) >= INTEGER:
        raise mismatch("message", "an integer of more than 64 bits", "smaller ones")
    if isinstance(value, float) and finite and not math.isfinite(value):
        raise mismatch("message", value, "finite numbers")
    return value
