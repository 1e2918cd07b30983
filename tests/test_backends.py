"""What the four backends share at the seam."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from vgg import VGGError, reference
from vgg.backends import check_labels

WRONG = [[0, 6], [-1, 2], [0.0, 1.0], [True, False], [[0], [1]], [200, 2]]


@pytest.mark.parametrize("labels", WRONG)
def test_labels_that_are_no_classes_are_refused_in_the_oracles_words(labels: Any) -> None:
    with pytest.raises(VGGError) as refusal:
        reference.cross_entropy(np.zeros((2, 6)), np.array(labels))
    with pytest.raises(VGGError, match=f"^{re.escape(str(refusal.value))}$"):
        check_labels(np.array(labels), 6)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_the_first_and_the_last_class_are_labels(dtype: str) -> None:
    check_labels(np.array([0, 5], dtype), 6)
