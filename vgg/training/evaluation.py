"""Evaluation of a trained network, by the same NumPy code for every backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 20
"""The number of samples, of mistakes and of confusions in an evaluation."""
MATRIX = 100
"""The largest number of classes for which an evaluation has the whole confusion matrix, which is its square."""


def evaluation(logits: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, confusions, accuracy per class, and predictions.

    ``logits`` is (N, classes), ``labels`` (N,), and ``names`` are those of the classes; a class without a name is named
    by its index. ``confusion`` is the matrix (rows: true class, columns: predicted), or None if there are more than
    ``MATRIX`` classes; ``confusions`` are its ``SAMPLES`` largest counts of wrong predictions. ``samples`` are the
    first ``SAMPLES`` examples; ``mistakes`` are the wrong predictions with the highest probabilities. The result
    consists of plain values for JSON.
    """
    predicted, classes = logits.argmax(axis=1), logits.shape[1]
    names = [*names, *map(str, range(len(names), classes))]
    counts, right = (np.bincount(some, minlength=classes) for some in (labels, labels[predicted == labels]))
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
        "confusion": _matrix(labels, predicted, classes) if classes <= MATRIX else None,
        "confusions": [
            {"label": names[label], "predicted": names[other], "count": count}
            for label, other, count in _confusions(labels[wrong], predicted[wrong], classes)
        ],
        "class_accuracy": [float(r / n) if n else None for r, n in zip(right, counts, strict=True)],
        "samples": entries(np.arange(len(labels))),
        "mistakes": entries(mistakes),
    }


def _matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> list[list[int]]:
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    matrix: list[list[int]] = counts.reshape(classes, classes).tolist()
    return matrix


def _confusions(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> Iterator[tuple[int, int, int]]:
    """Yield (true class, predicted class, count) of the most frequent pairs; of equal counts the first class first."""
    pairs, counts = np.unique(labels * classes + predicted, return_counts=True)
    for i in np.argsort(-counts, kind="stable")[:SAMPLES]:
        yield int(pairs[i] // classes), int(pairs[i] % classes), int(counts[i])


def _confidence(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of the predicted class, (N,)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability: NDArray[np.float64] = 1 / shifted.sum(axis=1)
    return probability
