import numpy as np

roundoff = 2.0**-24  # of float32
for terms in (10, 100, 1000, 10_000):
    random = np.random.default_rng(terms)
    a, b = random.standard_normal((2, 100, terms)).astype("float32")
    total = np.zeros(100, "float32")
    for product in (a * b).T:  # one term after the other, as a loop would
        total += product
    exact = (a.astype("float64") * b).sum(axis=1)
    error = np.linalg.norm(total - exact) / np.linalg.norm(exact) / roundoff
    print(f"{terms:6} terms: {error:5.1f} roundoffs, limit {5 * terms**0.5:5.0f}")
