"""What a network gets right and wrong, counted by hand."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from vgg.core.oracle import cross_entropy
from vgg.training.evaluation import MATRIX, SAMPLES, evaluation

LABELS = np.array([0, 0, 1, 2])
LOGITS = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.9, 0.05, 0.05]])
NAMES = ("cat", "dog", "owl")


def test_a_confusion_matrix_has_true_classes_in_rows() -> None:
    found = evaluation(LOGITS, LABELS, NAMES)
    assert found["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert (found["accuracy"], found["class_accuracy"]) == (0.5, [0.5, 1.0, 0.0])


def test_samples_are_the_first_and_mistakes_the_surest() -> None:
    found = evaluation(LOGITS, LABELS, NAMES)
    assert [sample["predicted"] for sample in found["samples"]] == ["cat", "dog", "dog", "cat"]
    assert found["mistakes"] == [
        {"image": 3, "label": "owl", "predicted": "cat", "probability": pytest.approx(0.9)},
        {"image": 1, "label": "cat", "predicted": "dog", "probability": pytest.approx(0.8)},
    ]


def test_a_class_without_images_has_no_accuracy_and_a_logit_without_a_name_its_index() -> None:
    found = evaluation(LOGITS[:2, [1, 0, 2]], LABELS[:2] + 1, ("cat",))
    assert found["classes"] == ["cat", "1", "2"]
    assert found["class_accuracy"] == [None, 0.5, None]


def test_no_more_samples_than_a_person_would_read() -> None:
    found = evaluation(np.eye(3)[np.zeros(99, int)], np.ones(99, int), NAMES)
    assert (len(found["samples"]), len(found["mistakes"])) == (SAMPLES, SAMPLES)


def test_confusions_are_the_most_frequent_first() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2, 2, 1]), np.array([1, 0, 0, 1, 1, 2, 2])
    found = evaluation(np.eye(3)[predicted], labels, NAMES)
    assert found["confusions"] == [
        {"label": "owl", "predicted": "dog", "count": 2},
        {"label": "cat", "predicted": "dog", "count": 1},
        {"label": "dog", "predicted": "cat", "count": 1},
        {"label": "dog", "predicted": "owl", "count": 1},
    ]
    pairs = {(NAMES.index(c["label"]), NAMES.index(c["predicted"])): c["count"] for c in found["confusions"]}
    assert all(found["confusion"][label][other] == count for (label, other), count in pairs.items())


@pytest.mark.parametrize(("classes", "whole"), [(MATRIX, True), (MATRIX + 1, False), (40_000, False)])
def test_the_matrix_is_whole_up_to_a_number_of_classes(classes: int, whole: bool) -> None:
    """Its size is the square of that number; everything else grows with it."""
    logits, labels = np.zeros((50, classes)), np.arange(50) % 7
    logits[np.arange(50), (labels * 3) % classes] = 1
    found = evaluation(logits, labels, NAMES)
    assert (found["confusion"] is not None) is whole
    assert [(c["label"], c["predicted"]) for c in found["confusions"]][:2] == [("dog", "3"), ("owl", "6")]
    assert len(json.dumps(found)) < 20 * classes + 3 * MATRIX**2 + 5000
    assert [found["class_accuracy"][i] for i in (0, 1, 7)] == [1.0, 0.0, None]


def test_memory_grows_with_the_classes_and_not_with_their_square() -> None:
    peaks = []
    for classes in (10_000, 40_000):
        logits, labels = np.zeros((5, classes)), np.arange(5)
        tracemalloc.start()
        loss, _ = cross_entropy(logits, labels)
        evaluation(logits, labels, NAMES)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert loss == pytest.approx(np.log(classes))
    assert peaks[1] < 4.5 * peaks[0]
    assert peaks[1] < 40_000 * 800
