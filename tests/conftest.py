"""Tests run two at a time, on as few as two cores: with more threads than one each, frameworks wait for one another."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
