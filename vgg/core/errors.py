"""The exceptions of vgg. Their messages have the form ``what: got X, wanted Y; do``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .texts import cut, one_line, shown


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
    """Return an error of class ``kind`` with the message ``what: got X, wanted Y; do``.

    It has one line, whatever ``what``, ``got`` and ``wanted`` hold, and long ones are cut.
    """
    message = f"{one_line(what)}: got {one_line(got, 800)}, wanted {one_line(wanted, 800)}"
    return kind(message + (f"; {one_line(do, 1000)}" if do else ""))


@contextmanager
def within(where: object) -> Iterator[None]:
    """Let every ``VGGError`` of the block say ``where`` it comes from, such as a file."""
    try:
        yield
    except VGGError as error:
        raise type(error)(f"{one_line(where)}: {error}") from error


def unknown(kind: str, name: object, known: Iterable[str], aliases: dict[str, str] | None = None) -> VGGError:
    """Return a ``VGGError`` that says that ``name`` is not among ``known``, and suggests the nearest of these."""
    import difflib

    names, text = sorted(known), one_line(name, 100)
    alias = (aliases or {}).get(text.lower())
    near = [alias] if alias else difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.6) or _longer(text, names)
    hint = f"did you mean {one_line(near[0])}?" if near else f"choose from {cut(', '.join(names), 500)}"
    return VGGError(f"unknown {one_line(kind)} {shown(text)}: {hint}")


def _longer(text: str, names: list[str]) -> list[str]:
    """Return the names that contain ``text``, as fashion-mnist contains mnist."""
    return [name for name in names if len(text) > 1 and text.lower() in name]
