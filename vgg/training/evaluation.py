"""Evaluation of a trained network, by the same NumPy code for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 20
"""The number of samples, and of mistakes, in an evaluation."""


def evaluation(logits: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, confusion matrix (rows: true class, columns: predicted), accuracy per class, and predictions.

    ``logits`` is (N, classes), ``labels`` (N,), and ``names`` are those of the classes; a class without a name is named
    by its index. ``samples`` are the first ``SAMPLES`` examples; ``mistakes`` are the wrong predictions with the
    highest probabilities. The result consists of plain values for JSON.
    """
    predicted = logits.argmax(axis=1)
    names = [*names, *map(str, range(len(names), logits.shape[1]))]
    confusion = np.bincount(labels * len(names) + predicted, minlength=len(names) ** 2).reshape(len(names), -1)
    counts = confusion.sum(axis=1)
    probability = _confidence(logits)
    wrong = np.flatnonzero(predicted != labels)
    mistakes = wrong[np.argsort(-probability[wrong], kind="stable")]

    def entries(examples: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "image": int(i),
                "label": names[labels[i]],
                "predicted": names[predicted[i]],
                "probability": float(probability[i]),
            }
            for i in examples[:SAMPLES]
        ]

    return {
        "accuracy": float((predicted == labels).mean()),
        "classes": names,
        "confusion": confusion.tolist(),
        "class_accuracy": [
            float(row[i] / n) if n else None for i, (row, n) in enumerate(zip(confusion, counts, strict=True))
        ],
        "samples": entries(np.arange(len(labels))),
        "mistakes": entries(mistakes),
    }


def _confidence(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of the predicted class, (N,)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability: NDArray[np.float64] = 1 / shifted.sum(axis=1)
    return probability
