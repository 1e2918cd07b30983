"""What a trained network gets right and wrong: the same NumPy for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 20


def evaluation(logits: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Accuracy, confusion matrix (rows: true class, columns: predicted), accuracy of each class, sample predictions.

    ``logits`` (N, classes), ``labels`` (N,), ``names`` of the classes; more logits than names go under their index.
    ``samples`` are the first ``SAMPLES`` examples, ``mistakes`` the wrong ones of highest probability.
    """
    predicted = logits.argmax(axis=1)
    names = [*names, *map(str, range(len(names), logits.shape[1]))]
    confusion = np.bincount(labels * len(names) + predicted, minlength=len(names) ** 2).reshape(len(names), -1)
    seen = confusion.sum(axis=1)
    sure = _confidence(logits)
    wrong = np.flatnonzero(predicted != labels)
    mistakes = wrong[np.argsort(-sure[wrong], kind="stable")]

    def described(examples: NDArray[np.int64]) -> list[dict[str, Any]]:
        return [
            {
                "image": int(i),
                "label": names[labels[i]],
                "predicted": names[predicted[i]],
                "probability": float(sure[i]),
            }
            for i in examples[:SAMPLES]
        ]

    return {
        "accuracy": float((predicted == labels).mean()),
        "classes": names,
        "confusion": confusion.tolist(),
        "class_accuracy": [
            float(row[i] / n) if n else None for i, (row, n) in enumerate(zip(confusion, seen, strict=True))
        ],
        "samples": described(np.arange(len(labels))),
        "mistakes": described(mistakes),
    }


def _confidence(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of the predicted class, (N,)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    sure: NDArray[np.float64] = 1 / shifted.sum(axis=1)
    return sure
