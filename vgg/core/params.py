"""Canonical parameters: their names, their shapes, and safetensors files that also hold the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import VGGError, mismatch, unknown
from .files import opened, path_of, write_atomically
from .layers import Shape, expand
from .outputs import WEIGHTS, check_replaced
from .spec import Spec
from .texts import one_line, shown

Params = dict[str, NDArray[Any]]
FORMATS = {
    b"PK\x03\x04": "a zip archive, as torch.save, numpy.savez and Keras write",
    **{b"\x80" + bytes([protocol]): "a pickle, which vgg never opens" for protocol in range(2, 6)},
    b"\x89HDF": "HDF5, as Keras writes",
    b"\x12\x01\0\0": "a file of MXNet",
    b"\x93NUMPY": "an array of NumPy",
}
"""First bytes of a file -> the format that it may have if it is not safetensors."""


def shapes(spec: Spec) -> dict[str, Shape]:
    """Return ``{canonical name: shape}`` in the order of the layer table, with the running statistics."""
    return {name: shape for row in expand(spec) for name, shape in row.parameters.items()}


def save_params(path: str | Path, params: Mapping[str, NDArray[Any]], spec: Spec) -> None:
    """Write ``params`` to a safetensors file with ``spec`` in the metadata, completely or not at all.

    Raises ``VGGError`` when the parameters do not fit ``spec``, are not float32 or float64, or the file cannot be
    written, or would replace one that is not safetensors.
    """
    path = path_of("path", path)
    check_replaced("path", path, WEIGHTS)
    write_params(path, params, spec)


def write_params(path: Path, params: Mapping[str, NDArray[Any]], spec: Spec) -> None:
    """Write ``params`` as ``save_params`` does, whatever is at ``path``: it is in a directory of ours."""
    from safetensors.numpy import save

    check_params(params, spec, str(path))
    arrays = {name: np.ascontiguousarray(params[name]) for name in shapes(spec)}
    for name, array in arrays.items():
        _check_dtype(f"{path}: {name}", array.dtype.name, ("float32", "float64"))
    write_atomically(path, save(arrays, metadata={"spec": spec.to_json()}))


def load_params(path: str | Path, *, among: bool = False) -> Params:
    """Read ``{canonical name: array}`` from a file that ``save_params`` wrote.

    With ``among`` the file may hold other arrays too, as a checkpoint does; they are left out. Raises ``VGGError`` when
    the file cannot be read, or its parameters do not fit the spec in it or are not float32 or float64.
    """
    path = path_of("path", path)
    with _opened(path) as file:
        wanted = shapes(_spec_in(file, path))
        stored = {name: file.get_slice(name) for name in file.keys() if not among or name in wanted}  # noqa: SIM118
        shaped: Any = {name: SimpleNamespace(shape=part.get_shape()) for name, part in stored.items()}
        check_arrays(shaped, wanted, str(path))
        for name, part in stored.items():
            _check_dtype(f"{path}: {name}", part.get_dtype(), ("F32", "F64"))
        return {name: file.get_tensor(name) for name in wanted}


def load_spec(path: str | Path) -> Spec:
    """Read the spec in the metadata of a file that ``save_params`` wrote. Raises ``VGGError`` when there is none."""
    path = path_of("path", path)
    with _opened(path) as file:
        return _spec_in(file, path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    start = b""
    try:
        with opened(path) as raw:
            start = raw.read(8)
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, MemoryError) as error:  # a sparse file may claim more than can be mapped
        do = _way_out(path, start)
        raise VGGError(f"{one_line(path)}: not a readable safetensors file ({one_line(error)}); {do}") from error


def _way_out(path: Path, start: bytes) -> str:
    """Return what to do about a file that is not safetensors and begins with the bytes ``start``."""
    form = next((form for magic, form in FORMATS.items() if start.startswith(magic)), "")
    if form:
        return f"it is {form}; load it in its framework, then write it by vgg.save_params"
    return "write it again" if path.suffix in ("", ".safetensors") else "vgg reads what vgg.save_params wrote"


def _spec_in(file: Any, path: Path) -> Spec:
    metadata = file.metadata() or {}
    if "spec" not in metadata:
        do = "load it in its framework, then write it by vgg.save_params"
        raise mismatch(str(path), "safetensors without a spec", "a file of weights written by vgg", do)
    try:
        return Spec.from_json(metadata["spec"])
    except VGGError as error:
        raise VGGError(f"{one_line(path)}: spec in its metadata: {error}; write it by vgg.save_params") from error


def check_finite(params: Mapping[str, NDArray[Any]], where: str) -> None:
    """Raise ``VGGError`` when a parameter is NaN or infinite, since no training can start from it."""
    for name, array in params.items():
        if count := int(array.size - np.isfinite(array).sum()):
            raise mismatch(f"{where}: {name}", f"{count:,} of {array.size:,} values not finite", "finite ones")


def check_params(params: Mapping[str, NDArray[Any]], spec: Spec, where: str = "parameters") -> None:
    """Raise ``VGGError`` unless ``params`` has exactly the names and shapes of ``spec``.

    ``where`` names the parameters in the message.
    """
    check_arrays(params, shapes(spec), where)


def check_arrays(arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, Shape], where: str) -> None:
    """Raise ``VGGError`` unless ``arrays`` has exactly the names and shapes ``wanted``.

    ``where`` names the arrays in the message.
    """
    if not isinstance(arrays, Mapping):
        raise mismatch(where, shown(arrays), "a dictionary of arrays")
    for name, shape in wanted.items():
        if name not in arrays:
            raise mismatch(f"{where}: {name}", "nothing", f"an array of shape {shape}")
        if not hasattr(arrays[name], "shape"):
            raise mismatch(f"{where}: {name}", shown(arrays[name]), f"an array of shape {shape}")
        if tuple(arrays[name].shape) != shape:
            raise mismatch(f"{where}: {name}", tuple(arrays[name].shape), shape)
    for name in arrays:
        if name not in wanted:
            raise unknown(f"parameter in {where}", name, wanted)


def _check_dtype(what: str, dtype: str, known: tuple[str, str]) -> None:
    if dtype not in known:
        raise mismatch(what, dtype, " or ".join(known), "convert it first: parameters are not rounded in silence")
