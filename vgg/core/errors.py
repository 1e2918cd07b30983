"""The exceptions of vgg. Their messages have the form ``what: got X, wanted Y; do``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class VGGError(Exception):
    """The base class of every error that vgg raises on purpose. The message names the bad input."""


class BackendError(VGGError):
    """A backend raised an exception, hung or died. The other backends are not affected."""


class RefusedError(BackendError):
    """A ``VGGError`` that was raised in a worker, by the backend or on its behalf: it refuses the job."""


class ContractError(VGGError):
    """A backend did what its contract forbids. This is a fault of the backend, not the refusal of a job."""


class UnavailableError(BackendError):
    """The environment of a backend is missing and cannot be built."""


def mismatch(what: str, got: object, wanted: object, do: str = "", kind: type[VGGError] = VGGError) -> VGGError:
    """Return an error of class ``kind`` with the message ``what: got X, wanted Y; do``."""
    return kind(f"{what}: got {got}, wanted {wanted}" + (f"; {do}" if do else ""))


@contextmanager
def within(where: object) -> Iterator[None]:
    """Let every ``VGGError`` of the block say ``where`` it comes from, such as a file."""
    try:
        yield
    except VGGError as error:
        raise type(error)(f"{where}: {error}") from error


def unknown(kind: str, name: str, known: Iterable[str], aliases: dict[str, str] | None = None) -> VGGError:
    """Return a ``VGGError`` that says that ``name`` is not among ``known``, and suggests the nearest of these."""
    import difflib

    names = sorted(known)
    alias = (aliases or {}).get(name.lower())
    near = [alias] if alias else difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
    return VGGError(f"unknown {kind} {name!r}: {hint}")
