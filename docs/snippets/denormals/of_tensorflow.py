import tensorflow as tf

x = tf.constant(5e-310, tf.float64)  # below the smallest normal number
print("2 x 5e-310 =", float(2 * x))
