import tensorflow as tf

# As it stands, the first operation takes nearly all memory of the GPU.
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, True)
tf.ones(1)
print(tf.config.experimental.get_memory_info("GPU:0"))
