"""Canonical parameters: their names, their shapes, and safetensors files that also hold the spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import VGGError, mismatch, unknown
from .files import write_atomically
from .layers import Shape, expand
from .spec import Spec

Params = dict[str, NDArray[Any]]


def shapes(spec: Spec) -> dict[str, Shape]:
    """Return ``{canonical name: shape}`` in the order of the layer table, with the running statistics."""
    return {name: shape for row in expand(spec) for name, shape in row.parameters.items()}


def save_params(path: str | Path, params: Mapping[str, NDArray[Any]], spec: Spec) -> None:
    """Write ``params`` to a safetensors file with ``spec`` in the metadata, completely or not at all.

    Raises ``VGGError`` when the parameters do not fit ``spec`` or the file cannot be written.
    """
    from safetensors.numpy import save

    path = Path(path)
    check_params(params, spec, str(path))
    arrays = {name: np.ascontiguousarray(params[name]) for name in shapes(spec)}
    write_atomically(path, save(arrays, metadata={"spec": spec.to_json()}))


def load_params(path: str | Path, *, among: bool = False) -> Params:
    """Read ``{canonical name: array}`` from a file that ``save_params`` wrote.

    With ``among`` the file may hold other arrays too, as a checkpoint does; they are left out. Raises ``VGGError`` when
    the file cannot be read or its parameters do not fit the spec in it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    spec = load_spec(path)
    try:
        params = load_file(path)
    except (SafetensorError, OSError) as error:
        raise VGGError(f"{path}: not a readable safetensors file ({error}); write it again") from error
    wanted = {name: a for name, a in params.items() if not among or name in shapes(spec)}
    check_params(wanted, spec, str(path))
    return {name: wanted[name] for name in shapes(spec)}


def load_spec(path: str | Path) -> Spec:
    """Read the spec in the metadata of a file that ``save_params`` wrote. Raises ``VGGError`` when there is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise VGGError(f"{path}: not a readable safetensors file ({error}); write it again") from error
    if "spec" not in metadata:
        raise mismatch(f"{path}", "safetensors without a spec", "a file of weights written by vgg")
    try:
        return Spec.from_json(metadata["spec"])
    except VGGError as error:
        raise VGGError(f"{path}: {error}") from error


def check_params(params: Mapping[str, NDArray[Any]], spec: Spec, where: str = "parameters") -> None:
    """Raise ``VGGError`` unless ``params`` has exactly the names and shapes of ``spec``.

    ``where`` names the parameters in the message.
    """
    check_arrays(params, shapes(spec), where)


def check_arrays(arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, Shape], where: str) -> None:
    """Raise ``VGGError`` unless ``arrays`` has exactly the names and shapes ``wanted``.

    ``where`` names the arrays in the message.
    """
    for name, shape in wanted.items():
        if name not in arrays:
            raise mismatch(f"{where}: {name}", "nothing", f"an array of shape {shape}")
        if tuple(arrays[name].shape) != shape:
            raise mismatch(f"{where}: {name}", tuple(arrays[name].shape), shape)
    for name in arrays:
        if name not in wanted:
            raise unknown(f"parameter in {where}", name, wanted)
