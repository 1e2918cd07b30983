import tensorflow as tf

# Five channels of ones, alpha = beta = k = 1: the sum of squares is 5.
y = tf.nn.local_response_normalization(
    tf.ones((1, 1, 1, 5)), depth_radius=2, bias=1, alpha=1, beta=1
)
print(f"{y[0, 0, 0, 2]:.4f}")
