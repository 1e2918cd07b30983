import tensorflow as tf

print("both:", tf.config.experimental.tensor_float_32_execution_enabled())
