import numpy as np

from vgg import Spec, init
from vgg.core import oracle
from vgg.core.comparator import compare, forward_limit


def judged(side):
    """Forget the permutation of the first dense layer, and ask the comparator."""
    spec = Spec.from_blocks(((1, 4), (1, 6)), input_shape=(1, side, side), classes=3)
    spec = spec.modified(hidden=(5,), dropout=0.0)
    params = init(spec, dtype="float64")
    images = np.random.default_rng(0).standard_normal((2, 1, side, side))
    channels, height, width = spec.feature_shape
    weight = params["fc1.weight"].reshape(-1, channels, height, width)
    wrong = weight.transpose(0, 2, 3, 1).reshape(5, -1)
    wanted = oracle.forward(spec, params, images).activations
    got = oracle.forward(spec, params | {"fc1.weight": wrong}, images).activations
    return compare(got, wanted, limit=forward_limit(spec, "float64"))


for side in (4, 12):
    verdict = judged(side)
    shape = f"{side // 4}x{side // 4}"
    found = f"differs first at {verdict.where}" if verdict.reason else "looks equal"
    print(f"a wrong flatten order with a last map of {shape}: {found}")
