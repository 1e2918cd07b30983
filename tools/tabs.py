"""What all pages of the documentation share: the names of the frameworks, and the type of a table."""

from __future__ import annotations

FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX", "mxnet": "MXNet"}
"""The backends as tabs call them."""
Table = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""
