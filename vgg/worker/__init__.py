"""The framework's door: a process that holds one backend and does jobs with it.

``python -m vgg.worker MODULE FILE`` reads and writes messages of ``vgg.process.wire`` on its standard input and output.
What the framework prints goes to ``FILE``.
"""

from .serve import described, main, refuses
from .session import Session

__all__ = ["Session", "described", "main", "refuses"]
