import tensorflow as tf

data = tf.data.Dataset.range(100)
for name, batches in (
    ("shuffle, then batch", data.shuffle(100, seed=0).batch(2)),
    ("batch, then shuffle", data.batch(2).shuffle(50, seed=0)),
):
    neighbours = sum(int(b) == int(a) + 1 for a, b in batches)
    print(f"{name}: {neighbours} of 50 batches are neighbours")
