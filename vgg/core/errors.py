"""The exceptions of vgg. Every message says what was got, what was wanted and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class VGGError(Exception):
    """Root of every error that vgg raises on purpose: bad input, named precisely."""


class BackendError(VGGError):
    """A backend that raised, hung or died. The other backends are not affected."""


class RefusedError(BackendError):
    """A ``VGGError`` raised in a worker, by the backend or on its behalf: what was asked for is refused."""


class ContractError(VGGError):
    """A backend did what its contract forbids. Whoever asked is not to blame, so nothing is refused by it."""


class UnavailableError(BackendError):
    """A backend whose environment is missing and cannot be built."""


def mismatch(what: str, got: object, wanted: object, do: str = "", kind: type[VGGError] = VGGError) -> VGGError:
    """An error in the house form ``what: got X, wanted Y; do``."""
    return kind(f"{what}: got {got}, wanted {wanted}" + (f"; {do}" if do else ""))


def unknown(kind: str, name: str, known: Iterable[str], aliases: dict[str, str] | None = None) -> VGGError:
    """A ``VGGError`` for a name that is not among ``known``, with the nearest one suggested."""
    import difflib

    names = sorted(known)
    alias = (aliases or {}).get(name.lower())
    near = [alias] if alias else difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
    return VGGError(f"unknown {kind} {name!r}: {hint}")
