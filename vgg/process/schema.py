"""The types of a worker's messages and results, for msgspec.

This module belongs to the parent, because a worker's environment has no msgspec.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Place = Literal["cpu", "gpu"]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Texts = dict[str, str]


class Result(Struct, forbid_unknown_fields=True):
    """The message of a job that is done."""

    result: Any


class Failure(Struct, forbid_unknown_fields=True):
    """The message of a job that failed; ``refused`` says whether the worker refused it."""

    error: str
    refused: bool
    traceback: str


class Event(Struct, forbid_unknown_fields=True):
    """The message of a training step, of an evaluation, or, if it is empty, a sign of life."""

    event: dict[str, Any]


class Facts(Struct):
    """The result of the job ``facts``. It may have further fields."""

    framework: Annotated[str, Meta(min_length=1)]
    versions: Texts
    devices: list[str]
    flags: dict[str, Any]
    gpus: Annotated[int, Meta(ge=0, le=1024)]
    level: Literal["inference", "gradients", "training"]
    dtypes: Annotated[list[Literal["float64", "float32"]], Meta(min_length=1)]
    declared: Texts
    precisions: dict[Place, list[str]]
    python: str
    replicas: Annotated[int, Meta(ge=1)]


class Summary(Struct):
    """The result of a finished run. It may have further fields."""

    first_loss: float
    last_loss: float
    test_accuracy: Share
    images_per_second: Positive
    epoch_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_bytes: Count
    device: Place
    shares: dict[str, float]


class Stopped(Struct):
    """The result of a run that was interrupted: the place that it reached."""

    stopped: tuple[Count, Count]


class Step(Struct):
    """The event of a training step."""

    epoch: Count
    step: Count
    number: Count
    loss: float
    lr: float
    seconds: Positive
    images: Annotated[int, Meta(ge=1)]


class Validation(Struct):
    """The event of an evaluation of the validation images."""

    epoch: Count
    number: Count
    training_loss: float
    validation_loss: float
    validation_accuracy: Share


class Test(Struct):
    """The event of an evaluation of the test images."""

    epoch: Count
    number: Count
    training_loss: float
    test_loss: float
    test_accuracy: Share


class Measured(Struct):
    """The result of the job ``measure``."""

    seconds: Positive
    peak_bytes: Count
    gpu_peak_bytes: Count


class Ceiling(Struct):
    """The result of the job ``ceiling``."""

    flops: Positive
    bytes: Positive


RESULTS: dict[str, Any] = {
    "facts": Facts,
    "place": Place,
    "build": Place,
    "trace": list[str],
    "loss_and_grads": float,
    "step": float,
    "promise": str,
    "train": Summary,
    "contend": Texts,
    "measure": Measured,
    "ceiling": Ceiling,
    "load_seconds": Seconds,
}
"""Job -> the type of its result, if that is not None."""
