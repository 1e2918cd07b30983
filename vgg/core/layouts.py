"""Conversion between canonical arrays and those of frameworks that keep images channels-last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .spec import Spec


def from_hwc(spec: Spec, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of a parameter in the canonical layout, from the layout of a framework that keeps images NHWC.

    HWIO becomes OIHW, and (in, out) becomes (out, in). The inputs of the first dense layer, in the order H,W,C, are put
    into the order C,H,W.
    """
    if array.ndim == 4:
        array = array.transpose(3, 2, 0, 1)
    elif name == "fc1.weight" and not spec.head.global_pool:
        channels, height, width = spec.feature_shape
        array = array.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    elif array.ndim == 2:
        array = array.T
    return np.array(array, order="C")


def to_hwc(spec: Spec, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a canonical parameter in the layout of a framework that keeps images NHWC; inverse of ``from_hwc``."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if name == "fc1.weight" and not spec.head.global_pool:
        return array.reshape(-1, *spec.feature_shape).transpose(2, 3, 1, 0).reshape(array.shape[::-1])
    return array.T if array.ndim == 2 else array


def activation_from_hwc(spec: Spec, name: str, x: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an NHWC activation as NCHW; if it is the flattened one, in the order C,H,W."""
    if name == "flatten":
        channels, height, width = spec.feature_shape
        x = x.reshape(-1, height, width, channels)
    canonical = np.array(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x, order="C")
    return canonical.reshape(len(x), -1) if name == "flatten" else canonical
